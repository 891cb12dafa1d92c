"""`zoho-relay dead-letters …`"""

from __future__ import annotations

import asyncio
import getpass
from collections import defaultdict
from typing import Annotated

import orjson
import typer

from services.operator.console.output import TableRow, complain, moment, show, tell
from services.operator.dead_letters.replay import (
    FoundLetter,
    Replayed,
    Selection,
    all_dead_letters,
    refused,
)
from services.operator.repositories.schemas import SCHEMAS

app = typer.Typer(
    no_args_is_help=True,
    help="Messages that were given up: see them by cause, look at one, handle them again.",
)

ServiceOption = Annotated[
    str | None, typer.Option("--service", help="Only of this service, such as billing-worker.")
]
CodeOption = Annotated[
    str | None, typer.Option("--code", help="Only given up for this cause (docs/errors.md).")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Messages read, at most.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command("list")
def list_letters(
    service: ServiceOption = None,
    code: CodeOption = None,
    each: Annotated[bool, typer.Option("--each", help="Every message, not the groups.")] = False,
    limit: LimitOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """How many messages were given up, by service and cause."""
    letters = asyncio.run(_read(Selection(_service(service), code, limit=limit)))
    rows = [_described(letter) for letter in letters] if each else _grouped(letters)
    show(rows, as_json=as_json, empty="No dead letters.")


@app.command("show")
def show_letter(
    message_id: Annotated[str, typer.Argument(help="The message_id of a dead letter.")],
    service: ServiceOption = None,
    reveal: Annotated[
        bool,
        typer.Option("--reveal", help="Open the body too. It holds personal data."),
    ] = False,
) -> None:
    """Why a message was given up, and where it came from; with --reveal, its body too."""
    selection = Selection(_service(service), message_ids=frozenset({message_id}))
    if not asyncio.run(_show(selection, reveal=reveal)):
        complain("No dead letter has this message_id.")
        raise typer.Exit(1)


@app.command("replay")
def replay_letters(
    message_ids: Annotated[
        list[str] | None, typer.Argument(help="message_ids; or select by --service, --code.")
    ] = None,
    service: ServiceOption = None,
    code: CodeOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All of them, when nothing else selects.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    knows: Annotated[
        bool,
        typer.Option(
            "--i-know-what-happened",
            help="Also those with the code outcome_unknown: money may have moved. Look in Zoho"
            " first, and settle what you saw with `zoho-relay effects resolve`.",
        ),
    ] = False,
    limit: LimitOption = 10_000,
) -> None:
    """Handle messages again, at the end of their line; each is handled once.

    A message that fails again is given up again. Exits with 1 when one was refused or is gone, or
    when nothing was selected.
    """
    if not (message_ids or service or code or everything):
        complain("Say which: message_ids, --service, --code, or --all.")
        raise typer.Exit(2)
    selection = Selection(_service(service), code, frozenset(message_ids or ()), limit)
    done = asyncio.run(_replay(selection, knows=knows, dry_run=dry_run))
    show(_outcomes(done), as_json=False, empty="No dead letter was selected.")
    if refused(done):
        raise typer.Exit(1)


def _service(service: str | None) -> str | None:
    if service is not None and service not in SCHEMAS:
        complain(f"There is no such service. There are: {', '.join(SCHEMAS)}.")
        raise typer.Exit(2)
    return service


async def _read(selection: Selection) -> list[FoundLetter]:
    async with all_dead_letters() as letters:
        return await letters.select(selection)


async def _show(selection: Selection, *, reveal: bool) -> bool:
    async with all_dead_letters() as letters:
        selected = await letters.select(selection)
        for found in selected:
            for name, value in _described(found).items():
                tell(f"{name.replace('_', ' '):<16} {value}")
            tell(f"{'correlation id':<16} {found.letter.correlation_id or ''}")
            tell(f"{'answers to':<16} {found.letter.reply_to or ''}")
            body = f"{len(found.letter.body)} bytes sealed; --reveal opens it"
            tell(f"{'body':<16} {_body(await letters.open(found)) if reveal else body}")
    return bool(selected)


async def _replay(selection: Selection, *, knows: bool, dry_run: bool) -> list[Replayed]:
    async with all_dead_letters() as letters:
        return await letters.replay(
            selection, knows_what_happened=knows, dry_run=dry_run, by=getpass.getuser()
        )


def _described(found: FoundLetter) -> TableRow:
    letter = found.letter
    return {
        "service": found.service,
        "message_id": letter.message_id,
        "routing_key": letter.routing_key,
        "org": letter.org,
        "code": letter.code,
        "attempts": letter.attempts,
        "sent_at": moment(letter.sent_at),
        "given_up_at": moment(letter.given_up_at),
        "reason": letter.reason,
    }


def _grouped(letters: list[FoundLetter]) -> list[TableRow]:
    groups: defaultdict[tuple[str, str], list[FoundLetter]] = defaultdict(list)
    for found in letters:
        groups[found.service, found.letter.code].append(found)
    rows: list[TableRow] = []
    for (service, code), group in sorted(groups.items(), key=lambda item: -len(item[1])):
        times = [found.letter.given_up_at for found in group if found.letter.given_up_at]
        rows.append(
            {
                "service": service,
                "code": code,
                "messages": len(group),
                "oldest": moment(min(times, default=None)),
                "newest": moment(max(times, default=None)),
                "for_example": group[0].letter.reason,
            }
        )
    return rows


def _outcomes(done: list[Replayed]) -> list[TableRow]:
    return [
        {
            "service": replayed.found.service,
            "message_id": replayed.found.letter.message_id,
            "routing_key": replayed.found.letter.routing_key,
            "code": replayed.found.letter.code,
            "fate": str(replayed.fate),
        }
        for replayed in done
    ]


def _body(body: bytes) -> str:
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except ValueError:
        return repr(body)  # given up because it is not JSON
