"""List open messages with what they wait for, end a wait, or give one up: `zoho-relay inbox …`."""

from __future__ import annotations

import asyncio
import getpass
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Final

import asyncpg
import typer

from services.operator.access.database import open_database
from services.operator.console.listing import JsonOption, LimitOption, list_items, print_more
from services.operator.console.output import TableRow, moment, print_error, print_line
from services.operator.repositories.schemas import with_inbox
from shared.messaging.inbox.inspection import InboxInspection, Intervention, OpenMessage

_BLIND_INDEX: Final = re.compile("[0-9a-f]{64}")

ServiceArgument = Annotated[str, typer.Argument(help="The service, as listed.")]
NumberArgument = Annotated[int, typer.Argument(help="The message's number, as listed.")]


def waiting(
    waits_for: Annotated[
        str | None,
        typer.Option("--for", help="Only waits for this: turn, time, fact, look, person, release."),
    ] = None,
    routing_key: Annotated[
        str | None, typer.Option("--routing-key", help="Only messages with this routing key.")
    ] = None,
    code: Annotated[
        str | None, typer.Option("--code", help="Only waits under this code (docs/errors.md).")
    ] = None,
    user_id: Annotated[
        str | None, typer.Option("--user", help="Only what stands in this user's line.")
    ] = None,
    service: Annotated[str | None, typer.Option("--service", help="Only of this service.")] = None,
    after: Annotated[
        int, typer.Option("--after", help="Go on behind this number: the last that was listed.")
    ] = 0,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List open messages, oldest first: who waits for what, since when, and until when.

    --limit counts for each service. When there are more, the last line says how to go on. Numbers
    are those of one service, so --after and --service belong together.
    """
    more: dict[str, int] = {}

    async def read(pool: asyncpg.Pool) -> list[tuple[str, OpenMessage]]:
        schemas = await with_inbox(pool)
        if service is not None:
            schemas = {service: _schema_of(service, schemas)}
        messages: list[tuple[str, OpenMessage]] = []
        for name, schema in schemas.items():
            found = await InboxInspection(pool, schema).page(
                line=None if user_id is None else f"user:{user_id}",
                waits_for=waits_for,
                routing_key=routing_key,
                code=code,
                after=after,
                limit=limit + 1,
            )
            messages += [(name, message) for message in found[:limit]]
            if len(found) > limit:
                more[name] = found[limit - 1].arrived
        return messages

    list_items(read, _open_row, as_json=as_json, empty="No such message is open.")
    print_more(more)


def end_wait(service: ServiceArgument, number: NumberArgument) -> None:
    """Let a message that waits look once more, now, whatever it waits for.

    If it would go on waiting for the same, it is given up under its own code, unless it waits for
    a person: `inbox give-up` is for that. What may have been done at Zoho (`outcome_unknown`) goes
    on until it can be looked for. A message of a paused product looks once the product is called
    again. One that waits for a release is given up at once.
    """
    _intervene(service, number, lambda inbox, by: inbox.end_wait(number, by=by))
    print_line("It looks once more now.")


def give_up(service: ServiceArgument, number: NumberArgument) -> None:
    """Give a message up. It becomes a dead letter, and what waits behind it continues."""
    _intervene(service, number, lambda inbox, by: inbox.give_up(number, by=by))
    print_line("The service gives it up now. See `zoho-relay dead-letters list`.")


def interventions(limit: LimitOption = 100, as_json: JsonOption = False) -> None:
    """List what operators did to open messages, the latest first in each service."""

    async def read(pool: asyncpg.Pool) -> list[tuple[str, Intervention]]:
        return [
            (service, intervention)
            for service, schema in (await with_inbox(pool)).items()
            for intervention in await InboxInspection(pool, schema).interventions(limit)
        ]

    list_items(read, _intervention_row, as_json=as_json, empty="Nobody has intervened.")


def _intervene(
    service: str, number: int, act: Callable[[InboxInspection, str], Awaitable[bool]]
) -> None:
    async def run() -> bool:
        async with open_database() as pool:
            schema = _schema_of(service, await with_inbox(pool))
            return await act(InboxInspection(pool, schema), getpass.getuser())

    if not asyncio.run(run()):
        print_error("It is not open any more, or a worker is working on it right now.")
        raise typer.Exit(1)


def _schema_of(service: str, schemas: Mapping[str, str]) -> str:
    if service not in schemas:
        print_error(f"There is no such service here. There are: {', '.join(schemas)}.")
        raise typer.Exit(2)
    return schemas[service]


def _open_row(item: tuple[str, OpenMessage]) -> TableRow:
    service, message = item
    return {
        "service": service,
        "number": message.arrived,
        "org": message.org,
        "routing_key": message.routing_key,
        "message_id": message.message_id,
        "who": _who(message),
        "waits_for": "nothing: leased" if message.leased else _described(message),
        "since": moment(message.waiting_since or message.accepted_at),
        "ends_at": moment(message.ends_at),
        "code": message.code or "",
        "reason": message.reason or "",
    }


def _described(message: OpenMessage) -> str:
    if message.waits_for == "person" and message.product:
        return f"person: {message.product}"
    if message.waits_for == "fact" and message.fact:
        kind, key = message.fact
        return f"fact: {kind}" if _BLIND_INDEX.fullmatch(key) else f"fact: {kind} {key}"
    return message.waits_for


def _who(message: OpenMessage) -> str:
    """The user in whose line it stands, or what else the line is of."""
    kind, _, name = message.line.partition(":")
    # A line of its own, or of an email or a record at Zoho, whose name is a blind index.
    if kind == "message" or _BLIND_INDEX.fullmatch(name):
        return ""
    return f"{kind} {name}"


def _intervention_row(item: tuple[str, Intervention]) -> TableRow:
    service, intervention = item
    return {
        "service": service,
        "number": intervention.arrived,
        "routing_key": intervention.routing_key,
        "message_id": intervention.message_id,
        "action": intervention.action,
        "by": intervention.done_by,
        "at": moment(intervention.done_at),
    }
