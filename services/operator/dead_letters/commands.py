"""List, show, replay and discard messages that were given up: `zoho-relay dead-letters …`."""

from __future__ import annotations

import asyncio
import getpass
from collections import defaultdict
from typing import Annotated

import orjson
import typer

from services.operator.console.listing import JsonOption
from services.operator.console.output import TableRow, moment, print_error, print_line, show
from services.operator.dead_letters.replay import (
    UNREADABLE,
    AllDeadLetters,
    Replayed,
    Selection,
    ServiceDeadLetter,
    all_dead_letters,
    refused,
)
from services.operator.repositories.schemas import SCHEMAS
from shared.errors import IntegrationError
from shared.messaging.inbox.dead_letters import DeadLetter

app = typer.Typer(
    no_args_is_help=True,
    help="Messages that were given up: list them by cause, show, replay or discard them.",
)

ServiceOption = Annotated[
    str | None, typer.Option("--service", help="Only of this service, such as billing-worker.")
]
CodeOption = Annotated[
    str | None, typer.Option("--code", help="Only those with this error code (docs/errors.md).")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Messages read, at most.")]


@app.command("list")
def list_dead_letters(
    service: ServiceOption = None,
    code: CodeOption = None,
    each: Annotated[
        bool, typer.Option("--each", help="List every message instead of groups.")
    ] = False,
    limit: LimitOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Count the messages that were given up, by service and cause."""
    selected = asyncio.run(_read(Selection(_service(service), code, limit=limit)))
    rows = [_row(dead_letter) for dead_letter in selected] if each else _grouped(selected)
    show(rows, as_json=as_json, empty="No dead letters.")


@app.command("show")
def show_dead_letter(
    message_id: Annotated[str, typer.Argument(help="The message_id of a dead letter.")],
    service: ServiceOption = None,
    reveal: Annotated[
        bool,
        typer.Option("--reveal", help="Open and show the body too. It may hold personal data."),
    ] = False,
) -> None:
    """Show why a message was given up, and where it came from. With --reveal, its body too."""
    selection = Selection(_service(service), message_ids=frozenset({message_id}))
    if not asyncio.run(_show(selection, reveal=reveal)):
        print_error("No dead letter has this message_id.")
        raise typer.Exit(1)


@app.command("replay")
def replay_dead_letters(
    message_ids: Annotated[
        list[str] | None,
        typer.Argument(help="Their message_ids, or select by --service and --code."),
    ] = None,
    service: ServiceOption = None,
    code: CodeOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Replay all of them, when nothing else selects.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
    confirmed: Annotated[
        bool,
        typer.Option(
            "--i-know-what-happened",
            help="Include those with the code outcome_unknown, where money may have moved. Look in"
            " Zoho first, and record what you saw with `zoho-relay effects resolve`.",
        ),
    ] = False,
    limit: LimitOption = 10_000,
) -> None:
    """Put messages back at the end of their line, to be handled again, once.

    A message that fails again is given up again. Exits with 1 when one was refused or is gone, or
    when nothing was selected.
    """
    if not (message_ids or service or code or everything):
        print_error("Select messages: by message_ids, --service, --code, or --all.")
        raise typer.Exit(2)
    selection = Selection(_service(service), code, frozenset(message_ids or ()), limit)
    done = asyncio.run(_replay(selection, confirmed=confirmed, dry_run=dry_run))
    show(_outcomes(done), as_json=False, empty="No dead letter was selected.")
    if refused(done):
        raise typer.Exit(1)


@app.command("discard")
def discard_dead_letters(
    message_ids: Annotated[list[str], typer.Argument(help="Their message_ids.")],
    service: ServiceOption = None,
    limit: LimitOption = 10_000,
) -> None:
    """Discard messages for good: their bodies are deleted and cannot be replayed.

    Exits with 1 when one is gone already, or when no dead letter has such a message_id.
    """
    selection = Selection(_service(service), message_ids=frozenset(message_ids), limit=limit)
    done = asyncio.run(_discard(selection))
    show(_outcomes(done), as_json=False, empty="No dead letter was selected.")
    if refused(done):
        raise typer.Exit(1)


def _service(service: str | None) -> str | None:
    if service is not None and service not in SCHEMAS:
        print_error(f"There is no such service. There are: {', '.join(SCHEMAS)}.")
        raise typer.Exit(2)
    return service


async def _read(selection: Selection) -> list[ServiceDeadLetter]:
    async with all_dead_letters() as dead_letters:
        return await dead_letters.select(selection)


async def _show(selection: Selection, *, reveal: bool) -> bool:
    async with all_dead_letters() as dead_letters:
        matches = await dead_letters.select(selection)
        for selected in matches:
            for name, value in _row(selected).items():
                print_line(f"{name.replace('_', ' '):<16} {value}")
            dead_letter = selected.dead_letter
            print_line(f"{'correlation id':<16} {dead_letter.correlation_id or ''}")
            print_line(f"{'answers to':<16} {dead_letter.reply_to or ''}")
            body = f"{dead_letter.size} bytes sealed; --reveal opens it"
            if reveal:
                body = await _revealed(dead_letters, selected)
            print_line(f"{'body':<16} {body}")
    return bool(matches)


async def _replay(selection: Selection, *, confirmed: bool, dry_run: bool) -> list[Replayed]:
    async with all_dead_letters() as dead_letters:
        return await dead_letters.replay(
            selection, confirmed=confirmed, dry_run=dry_run, by=getpass.getuser()
        )


async def _discard(selection: Selection) -> list[Replayed]:
    async with all_dead_letters() as dead_letters:
        return await dead_letters.discard(selection, by=getpass.getuser())


def _row(selected: ServiceDeadLetter) -> TableRow:
    dead_letter = selected.dead_letter
    return {
        "service": selected.service,
        "message_id": dead_letter.message_id,
        "routing_key": dead_letter.routing_key,
        "org": dead_letter.org,
        "code": dead_letter.code,
        "attempts": dead_letter.attempts,
        "sent_at": moment(dead_letter.sent_at),
        "given_up_at": moment(dead_letter.given_up_at),
        "reason": dead_letter.reason,
    }


def _grouped(selected: list[ServiceDeadLetter]) -> list[TableRow]:
    groups: defaultdict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
    for item in selected:
        groups[item.service, item.dead_letter.code].append(item.dead_letter)
    rows: list[TableRow] = []
    for (service, code), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        times = [dead_letter.given_up_at for dead_letter in group if dead_letter.given_up_at]
        rows.append(
            {
                "service": service,
                "code": code,
                "messages": len(group),
                "oldest": moment(min(times, default=None)),
                "newest": moment(max(times, default=None)),
                "for_example": group[0].reason,
            }
        )
    return rows


def _outcomes(done: list[Replayed]) -> list[TableRow]:
    return [
        {
            "service": replayed.selected.service,
            "message_id": replayed.selected.dead_letter.message_id,
            "routing_key": replayed.selected.dead_letter.routing_key,
            "code": replayed.selected.dead_letter.code,
            "fate": str(replayed.result),
        }
        for replayed in done
    ]


async def _revealed(dead_letters: AllDeadLetters, selected: ServiceDeadLetter) -> str:
    try:
        return _body(await dead_letters.open(selected))
    except IntegrationError as error:
        if error.code not in UNREADABLE:
            raise
        return f"unreadable: {error.reason} ({error.code})"


def _body(body: bytes) -> str:
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except ValueError:
        return repr(body)  # given up because it is not JSON
