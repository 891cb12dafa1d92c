"""Begin, watch and end the search that follows a restore: `zoho-relay recover …`."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

import orjson
import typer

from services.operator.access.database import open_database
from services.operator.console.listing import JsonOption
from services.operator.console.output import TableRow, moment, print_error, print_line, show
from services.operator.repositories.recovery_progress import LookedFor, RecoveryProgress
from shared.storage.recoveries import Recoveries, Recovery

_DAY_S: Final = 86_400.0
_T = TypeVar("_T")

recover = typer.Typer(
    no_args_is_help=True,
    help="After a restore of PostgreSQL: look at Zoho for what was done since the backup, before"
    " it is done again. docs/backup-and-recovery.md.",
)


@recover.command("begin")
def begin(
    since: Annotated[
        str,
        typer.Option(
            "--since", help="When the backup was made, with its zone: 2026-05-01T03:00:00+02:00."
        ),
    ],
    search_days: Annotated[
        float,
        typer.Option(
            "--search-days",
            min=0.01,
            max=365,
            help="Days for which new creates are looked for first. As long as your applications"
            " may publish again.",
        ),
    ] = 7,
) -> None:
    """Declare that this database was restored. Workers that stand go on by themselves.

    Best said before the services are started. It may be said again, with an earlier time.
    """
    moment_of_backup = _parse(since)
    started = _with_recoveries(
        lambda recoveries: recoveries.begin(
            moment_of_backup, search_s=search_days * _DAY_S, by=getpass.getuser()
        )
    )
    print_line(
        f"Recovery {started.id} has begun. What may have been done between"
        f" {moment(started.since)} and {moment(started.begun_at)} UTC is looked for, until"
        f" {moment(started.search_until)} UTC. See `zoho-relay recover status`."
    )


@recover.command("none")
def none() -> None:
    """Answer that nothing is missing: RabbitMQ is another or was emptied, PostgreSQL is whole."""
    asked = _with_recoveries(lambda recoveries: recoveries.not_needed(getpass.getuser()))
    print_line(
        "Workers that stand go on by themselves."
        if asked
        else "No worker has asked. It counts for the next start of each."
    )


@recover.command("end")
def end(
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Even if something is still looked for or unclear, or commands are open.",
        ),
    ] = False,
) -> None:
    """End the search before its time: your applications have published everything again.

    What was not looked for by then would be done again. So nothing may lie in the queues either:
    `zoho-relay queues`.
    """

    async def run() -> str | None:
        async with open_database() as pool:
            latest = await Recoveries(pool).latest()
            if latest is None or latest.state != "open":
                return "No recovery is open."
            if not force and (problem := await _unsettled(RecoveryProgress(pool), latest.id)):
                return problem
            await Recoveries(pool).end(getpass.getuser())
            return None

    if problem := asyncio.run(run()):
        print_error(problem)
        raise typer.Exit(1)
    print_line("Ended. New commands are carried out without a look at Zoho.")


async def _unsettled(progress: RecoveryProgress, recovery_id: int) -> str | None:
    effects = sum(each.looking + each.unclear for each in await progress.of(recovery_id))
    if effects:
        return f"{effects} effects are still looked for or unclear. See `recover status`."
    # One that waits, for its user or to be tried, has no effect in the journal yet.
    if commands := await progress.open_commands():
        return f"{commands} commands are open, each of which may have to be looked for."
    return None


@recover.command("status")
def status(as_json: JsonOption = False) -> None:
    """Show what was looked for, found, made, is unclear, and how many calls it costs.

    A look has the priority of the command that waits for it.
    """

    async def read() -> tuple[Recovery | None, list[LookedFor], int]:
        async with open_database() as pool:
            latest = await Recoveries(pool).latest()
            progress = RecoveryProgress(pool)
            looked_for = await progress.of(latest.id) if latest else []
            return latest, looked_for, await progress.open_commands()

    latest, looked_for, open_commands = asyncio.run(read())
    rows = [_row(each) for each in looked_for]
    if as_json:
        _print_json(latest, rows, open_commands)
        return
    if latest is None:
        print_line("This database was never restored, as far as it knows.")
        return
    for line in _summary(latest):
        print_line(line)
    if latest.state in ("open", "ended"):
        print_line(f"open commands: {open_commands}, each of which may have to be looked for")
        show(rows, as_json=False, empty="Nothing was looked for yet.")


def _summary(latest: Recovery) -> list[str]:
    lines = [f"recovery {latest.id}: {latest.state}"]
    if latest.noticed_at:
        noticed = f"noticed {moment(latest.noticed_at)} UTC by {latest.noticed_by}"
        lines.append(f"{noticed}: {latest.reason}")
    if latest.state == "noticed":
        lines.append(
            "Work stands. Answer with `zoho-relay recover begin --since TIME`, or with"
            " `zoho-relay recover none` if PostgreSQL is whole."
        )
    if latest.begun_at:
        lines.append(
            f"looks for what was done from {moment(latest.since)} to {moment(latest.begun_at)}"
            f" UTC, until {moment(latest.search_until)} UTC; begun by {latest.begun_by}"
        )
    if latest.ended_at:
        lines.append(f"ended {moment(latest.ended_at)} UTC by {latest.ended_by}")
    return lines


def _row(each: LookedFor) -> TableRow:
    return {
        "product": each.product,
        "operation": each.operation,
        "looked_for": each.looked_for,
        "found": each.found,
        "made": each.made,
        "absent": each.absent,
        "looking": each.looking,
        "unclear": each.unclear,
        "calls": each.calls,
        "calls_to_come": each.calls_to_come,
    }


def _print_json(latest: Recovery | None, rows: list[TableRow], open_commands: int) -> None:
    status = {"recovery": latest, "open_commands": open_commands, "effects": rows}
    sys.stdout.write(orjson.dumps(status, option=orjson.OPT_INDENT_2).decode() + "\n")


def _with_recoveries(act: Callable[[Recoveries], Awaitable[_T]]) -> _T:
    async def run() -> _T:
        async with open_database() as pool:
            return await act(Recoveries(pool))

    return asyncio.run(run())


def _parse(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        print_error("--since is a time such as 2026-05-01T03:00:00+02:00.")
        raise typer.Exit(2) from None
    if at.tzinfo is None:
        print_error("--since needs its zone: 2026-05-01T03:00:00+02:00, or Z for UTC.")
        raise typer.Exit(2)
    if at >= datetime.now(UTC):
        print_error("--since is in the future. It is the time of the backup.")
        raise typer.Exit(2)
    return at.astimezone(UTC)
