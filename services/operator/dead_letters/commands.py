"""List, show, replay and discard messages that were given up: `zoho-relay dead-letters …`."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import replace
from typing import Annotated

import orjson
import typer

from services.operator.console.listing import JsonOption, LimitOption, print_more
from services.operator.console.output import TableRow, moment, print_error, print_line, show
from services.operator.dead_letters.replay import (
    UNREADABLE,
    AllDeadLetters,
    Page,
    ReplayResult,
    Results,
    Selection,
    ServiceCause,
    ServiceDeadLetter,
    all_dead_letters,
)
from services.operator.repositories.schemas import SCHEMAS
from shared.errors import IntegrationError

app = typer.Typer(
    no_args_is_help=True,
    help="Messages that were given up: list them by cause, show, replay or discard them.",
)

MessageIds = Annotated[
    list[str] | None, typer.Argument(help="Their message_ids, or select by the options.")
]
ServiceOption = Annotated[
    str | None, typer.Option("--service", help="Only of this service, such as billing-worker.")
]
CodeOption = Annotated[
    str | None, typer.Option("--code", help="Only those with this error code (docs/errors.md).")
]
RoutingKeyOption = Annotated[
    str | None, typer.Option("--routing-key", help="Only messages with this routing key.")
]
OlderThanOption = Annotated[
    float | None,
    typer.Option("--older-than", min=0, help="Only those given up at least so many seconds ago."),
]
EverythingOption = Annotated[
    bool, typer.Option("--all", help="All of them, when nothing else selects.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


@app.command("list")
def list_dead_letters(
    service: ServiceOption = None,
    code: CodeOption = None,
    routing_key: RoutingKeyOption = None,
    older_than: OlderThanOption = None,
    each: Annotated[
        bool, typer.Option("--each", help="List every message instead of groups, page by page.")
    ] = False,
    after: Annotated[
        int, typer.Option("--after", help="With --each: go on behind this number.")
    ] = 0,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """Count all messages that were given up, by service and cause.

    With --each, list them, the oldest first. --limit counts for each service. When there are more,
    the last line says how to go on.
    """
    selection = Selection(_service(service), code, routing_key, older_than)
    if each:
        page = asyncio.run(_page(selection, after, limit))
        show([_row(item) for item in page.items], as_json=as_json, empty="No dead letters.")
        print_more(page.more)
    else:
        causes = asyncio.run(_causes(selection))
        show([_cause_row(each) for each in causes], as_json=as_json, empty="No dead letters.")


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
    message_ids: MessageIds = None,
    service: ServiceOption = None,
    code: CodeOption = None,
    routing_key: RoutingKeyOption = None,
    older_than: OlderThanOption = None,
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    confirmed: Annotated[
        bool,
        typer.Option(
            "--i-know-what-happened",
            help="Include those with the code outcome_unknown, where money may have moved. Look in"
            " Zoho first, and record what you saw with `zoho-relay effects resolve`.",
        ),
    ] = False,
) -> None:
    """Put messages back at the end of their line, to be handled again, once.

    Any number of them, the oldest first. It may be interrupted and run again: what is replayed is
    no dead letter any more. A message that fails again is given up again. Exits with 1 when one was
    refused or is gone, or when nothing was selected.
    """
    selection = Selection(
        _service(service), code, routing_key, older_than, frozenset(message_ids or ())
    )
    _require_something(selection, everything=everything)
    _show_results(asyncio.run(_replay(selection, confirmed=confirmed, dry_run=dry_run)))


@app.command("discard")
def discard_dead_letters(
    message_ids: MessageIds = None,
    service: ServiceOption = None,
    code: CodeOption = None,
    routing_key: RoutingKeyOption = None,
    older_than: OlderThanOption = None,
    everything: EverythingOption = False,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. For scripts.")] = False,
) -> None:
    """Discard messages for good: their bodies are deleted and cannot be replayed.

    Who discarded them, and when, is kept. Exits with 1 when one is gone already, or when nothing
    was selected.
    """
    selection = Selection(
        _service(service), code, routing_key, older_than, frozenset(message_ids or ())
    )
    _require_something(selection, everything=everything)
    selection = asyncio.run(_as_of_now(selection))  # what is confirmed, and nothing given up later
    causes = asyncio.run(_causes(selection))
    if dry_run or not yes or not causes:
        rows = [_cause_row(each) for each in causes]
        show(rows, as_json=False, empty="No dead letter was selected.")
    if not causes:
        raise typer.Exit(1)
    if dry_run:
        return
    messages = sum(each.cause.messages for each in causes)
    if not yes and not typer.confirm(f"Discard {messages} messages for good?"):
        print_error("Nothing was done.")
        raise typer.Exit(1)
    _show_results(asyncio.run(_discard(selection)))


def _require_something(selection: Selection, *, everything: bool) -> None:
    if selection.is_everything and not everything:
        print_error(
            "Select messages: by message_ids, --service, --code, --routing-key, --older-than, or"
            " --all."
        )
        raise typer.Exit(2)


def _service(service: str | None) -> str | None:
    if service is not None and service not in SCHEMAS:
        print_error(f"There is no such service. There are: {', '.join(SCHEMAS)}.")
        raise typer.Exit(2)
    return service


async def _page(selection: Selection, after: int, limit: int) -> Page:
    async with all_dead_letters() as dead_letters:
        return await dead_letters.page(selection, after=after, limit=limit)


async def _as_of_now(selection: Selection) -> Selection:
    async with all_dead_letters() as dead_letters:
        return replace(selection, until=await dead_letters.now())


async def _causes(selection: Selection) -> list[ServiceCause]:
    async with all_dead_letters() as dead_letters:
        return await dead_letters.causes(selection)


async def _show(selection: Selection, *, reveal: bool) -> bool:
    any_shown = False
    async with all_dead_letters() as dead_letters:
        async for batch in dead_letters.each(selection):
            for selected in batch:
                await _show_one(dead_letters, selected, reveal=reveal)
                any_shown = True
    return any_shown


async def _show_one(
    dead_letters: AllDeadLetters, selected: ServiceDeadLetter, *, reveal: bool
) -> None:
    for name, value in _row(selected).items():
        print_line(f"{name.replace('_', ' '):<16} {value}")
    dead_letter = selected.dead_letter
    print_line(f"{'correlation id':<16} {dead_letter.correlation_id or ''}")
    print_line(f"{'answers to':<16} {dead_letter.reply_to or ''}")
    body = f"{dead_letter.size} bytes sealed; --reveal opens it"
    if reveal:
        body = await _revealed(dead_letters, selected)
    print_line(f"{'body':<16} {body}")


async def _replay(selection: Selection, *, confirmed: bool, dry_run: bool) -> Results:
    async with all_dead_letters() as dead_letters:
        if dry_run:
            return await dead_letters.would_replay(selection, confirmed=confirmed)
        return await dead_letters.replay(
            selection, confirmed=confirmed, by=getpass.getuser(), progress=_progress, left=_left
        )


async def _discard(selection: Selection) -> Results:
    async with all_dead_letters() as dead_letters:
        return await dead_letters.discard(
            selection, by=getpass.getuser(), progress=_progress, left=_left
        )


def _progress(results: Results) -> None:
    print_error(f"{results.done} looked at …")


def _left(selected: ServiceDeadLetter, result: ReplayResult) -> None:
    print_error(f"{selected.service} {selected.dead_letter.message_id}: {result}")


def _show_results(results: Results) -> None:
    rows: list[TableRow] = [
        {
            "service": service,
            "code": code,
            "messages": messages,
            "fate": str(result),
            "for_example": results.examples[service, code, result],
        }
        for (service, code, result), messages in results.counts.items()
    ]
    show(rows, as_json=False, empty="No dead letter was selected.")
    if results.refused:
        raise typer.Exit(1)


def _row(selected: ServiceDeadLetter) -> TableRow:
    dead_letter = selected.dead_letter
    return {
        "service": selected.service,
        "number": dead_letter.arrived,
        "message_id": dead_letter.message_id,
        "routing_key": dead_letter.routing_key,
        "org": dead_letter.org,
        "code": dead_letter.code,
        "attempts": dead_letter.attempts,
        "sent_at": moment(dead_letter.sent_at),
        "given_up_at": moment(dead_letter.given_up_at),
        "reason": dead_letter.reason,
    }


def _cause_row(each: ServiceCause) -> TableRow:
    return {
        "service": each.service,
        "code": each.cause.code,
        "messages": each.cause.messages,
        "oldest": moment(each.cause.oldest),
        "newest": moment(each.cause.newest),
        "for_example": each.cause.reason,
    }


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
