"""`zoho-relay queues`, `inbox`, `outbox` and `effects`: what is under way, and what is stuck."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import typer

from services.operator.access import broker as rabbitmq
from services.operator.console.output import TableRow, complain, duration, show, tell
from services.operator.dead_letters.commands import JsonOption
from services.operator.repositories.inboxes import Inboxes
from services.operator.repositories.outboxes import Outboxes
from services.operator.repositories.refused_contacts import RefusedContacts
from services.operator.settings import BrokerSettings, DatabaseSettings
from shared.storage import pool as storage
from shared.zoho.effects.open_effects import OpenEffect, OpenEffects

inbox = typer.Typer(no_args_is_help=True, help="Messages that services have taken.")
outbox = typer.Typer(no_args_is_help=True, help="Messages that services are about to publish.")
effects = typer.Typer(
    no_args_is_help=True,
    help="Creates and charges at Zoho that have no answer yet (the effects journal).",
)
contacts = typer.Typer(no_args_is_help=True, help="What CRM has, or has not, of the users.")

Rows = Annotated[int, typer.Option("--limit", min=1, help="Rows shown, at most.")]


def queues(as_json: JsonOption = False) -> None:
    """Every queue: messages waiting, consumers, dead letters."""
    rows = asyncio.run(_queues())
    show(rows, as_json=as_json, empty="No queue is declared: has no service been started yet?")


@inbox.command("stuck")
def inbox_stuck(
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, help="Seconds since it was first seen.")
    ] = 900,
    limit: Rows = 100,
    as_json: JsonOption = False,
) -> None:
    """Messages at the head of their line that are not settled, and how many wait behind them."""

    async def read() -> list[TableRow]:
        async with _database() as pool:
            return [
                {
                    "service": one.service,
                    "org": one.org,
                    "routing_key": one.routing_key,
                    "message_id": one.message_id,
                    "state": "claimed, lease lapsed" if one.lapsed else one.state,
                    "attempts": one.attempts,
                    "behind": one.behind,
                    "age": duration(one.age_s),
                }
                for one in await Inboxes(pool).stuck(older_than, limit)
            ]

    show(asyncio.run(read()), as_json=as_json, empty="Nothing is stuck.")


@outbox.command("pending")
def outbox_pending(as_json: JsonOption = False) -> None:
    """What is committed but not yet confirmed by RabbitMQ, by destination."""

    async def read() -> list[TableRow]:
        async with _database() as pool:
            return [
                {
                    "service": one.service,
                    "exchange": one.exchange or "(default)",
                    "routing_key": one.routing_key,
                    "rows": one.rows,
                    "tries": one.tries,
                    "oldest": duration(one.oldest_age_s),
                }
                for one in await Outboxes(pool).pending()
            ]

    show(asyncio.run(read()), as_json=as_json, empty="Everything is published.")


@contacts.command("refused")
def contacts_refused(limit: Rows = 100, as_json: JsonOption = False) -> None:
    """Contacts that CRM does not take as they are. The next change of the user is tried again."""

    async def read() -> list[TableRow]:
        async with _database() as pool:
            return [
                {
                    "org": one.org,
                    "user_id": one.user_id,
                    "code": one.code,
                    "routing_key": one.changed_by_key,
                    "message_id": one.changed_by_id or "",
                    "age": duration(one.age_s),
                }
                for one in await RefusedContacts(pool).all(limit)
            ]

    show(asyncio.run(read()), as_json=as_json, empty="CRM refuses no contact.")


@effects.command("list")
def effects_list(limit: Rows = 100, as_json: JsonOption = False) -> None:
    """Those without an answer. `unknown` ones wait for a person, overdue ones for a replay."""

    async def read() -> list[TableRow]:
        async with _database() as pool:
            return [
                {
                    "org": one.org,
                    "product": one.product,
                    "operation": one.operation,
                    "business_id": one.business_id,
                    "state": one.state,
                    "age": duration(one.age_s),
                    "looked_for_in": _looked_for_in(one),
                }
                for one in await OpenEffects(pool).all(limit)
            ]

    show(asyncio.run(read()), as_json=as_json, empty="Every write to Zoho has its answer.")


@effects.command("resolve")
def effects_resolve(
    operation: Annotated[str, typer.Argument(help="As `effects list` names it.")],
    business_id: Annotated[str, typer.Argument(help="The application's id, as listed.")],
    did_not_happen: Annotated[
        bool,
        typer.Option("--did-not-happen", help="You saw in Zoho that it was not done: do it."),
    ] = False,
    look_again: Annotated[
        bool,
        typer.Option("--look-again", help="Look for it in Zoho once more, and go by that."),
    ] = False,
    org: Annotated[str, typer.Option("--org")] = "default",
) -> None:
    """Decide about one that is `unknown`, or `intended` and overdue, its message given up.

    Then replay its message, with --i-know-what-happened if it was given up as outcome_unknown.
    """
    if did_not_happen == look_again:
        complain("Say one of --did-not-happen and --look-again.")
        raise typer.Exit(2)

    async def resolve() -> bool:
        async with _database() as pool:
            found = OpenEffects(pool)
            act = found.did_not_happen if did_not_happen else found.look_again
            return await act(org, operation, business_id)

    if not asyncio.run(resolve()):
        complain(
            "There is no such effect that is unknown, or intended and overdue;"
            " see `zoho-relay effects list`."
        )
        raise typer.Exit(1)
    tell("Resolved. Replay its message now.")


def _looked_for_in(effect: OpenEffect) -> str:
    if effect.state != "intended":
        return ""
    return duration(effect.look_in_s) if effect.look_in_s > 0 else "overdue"


async def _queues() -> list[TableRow]:
    rows: list[TableRow] = []
    async with rabbitmq.connect(BrokerSettings.load().amqp_url) as broker:
        for name in [*rabbitmq.work_queues(), *rabbitmq.retry_queues()]:
            state = await broker.state(name)
            if state is None:
                continue
            dead = await broker.state(f"{name}.dead")
            rows.append(
                {
                    "queue": name,
                    "messages": state.messages,
                    "consumers": state.consumers,
                    "dead": dead.messages if dead else 0,
                }
            )
    return rows


@asynccontextmanager
async def _database() -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(
        DatabaseSettings.load().database_url, size=2, application="zoho-relay", opened_within_s=5
    ) as pool:
        yield pool
