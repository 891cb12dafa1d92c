"""Show what is under way and what is stuck: `queues`, `inbox`, `outbox`, `contacts`, `effects`."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from services.operator.access import broker as rabbitmq
from services.operator.access.database import open_database
from services.operator.console.listing import (
    JsonOption,
    LimitOption,
    OrgOption,
    add_list,
    list_items,
)
from services.operator.console.output import TableRow, duration, print_error, print_line, show
from services.operator.inspection import open_messages
from services.operator.repositories.inboxes import Inboxes, Stuck
from services.operator.repositories.outboxes import Outboxes, PendingGroup
from services.operator.repositories.refused_contacts import RefusedContact, RefusedContacts
from services.operator.settings import BrokerSettings
from shared.zoho.effects.open_effects import OpenEffect, OpenEffects

inbox = typer.Typer(no_args_is_help=True, help="Messages that services have accepted.")
inbox.command("waiting")(open_messages.waiting)
inbox.command("end-wait")(open_messages.end_wait)
inbox.command("give-up")(open_messages.give_up)
inbox.command("interventions")(open_messages.interventions)
outbox = typer.Typer(no_args_is_help=True, help="Messages that services have yet to publish.")
effects = typer.Typer(
    no_args_is_help=True,
    help="Creates and charges at Zoho without an answer so far (the effects journal).",
)
contacts = typer.Typer(no_args_is_help=True, help="Users whom CRM does not take as contacts.")


def queues(as_json: JsonOption = False) -> None:
    """List every queue: messages that are not accepted yet, and consumers."""
    rows = asyncio.run(_queues())
    show(rows, as_json=as_json, empty="No queue is declared: has no service been started yet?")


@inbox.command("stuck")
def inbox_stuck(
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, help="Seconds since it was first seen.")
    ] = 900,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List messages at the head of their line that are not settled, and how many wait behind."""
    list_items(
        lambda pool: Inboxes(pool).stuck(older_than, limit),
        _stuck_row,
        as_json=as_json,
        empty="Nothing is stuck.",
    )


def _stuck_row(message: Stuck) -> TableRow:
    return {
        "service": message.service,
        "org": message.org,
        "routing_key": message.routing_key,
        "message_id": message.message_id,
        "state": "leased, lease lapsed" if message.lapsed else message.state,
        "attempts": message.attempts,
        "behind": message.behind,
        "age": duration(message.age_s),
    }


@outbox.command("pending")
def outbox_pending(as_json: JsonOption = False) -> None:
    """List what is committed but not yet confirmed by RabbitMQ, by destination."""
    list_items(
        lambda pool: Outboxes(pool).pending(),
        _pending_row,
        as_json=as_json,
        empty="Everything is published.",
    )


def _pending_row(group: PendingGroup) -> TableRow:
    return {
        "service": group.service,
        "exchange": group.exchange or "(default)",
        "routing_key": group.routing_key,
        "rows": group.rows,
        "tries": group.tries,
        "oldest": duration(group.oldest_age_s),
    }


def _refused_row(contact: RefusedContact) -> TableRow:
    return {
        "org": contact.org,
        "user_id": contact.user_id,
        "code": contact.code,
        "routing_key": contact.changed_by_key,
        "message_id": contact.changed_by_id or "",
        "age": duration(contact.age_s),
    }


def _effect_row(effect: OpenEffect) -> TableRow:
    return {
        "org": effect.org,
        "product": effect.product,
        "operation": effect.operation,
        "business_id": effect.business_id,
        "state": effect.state,
        "age": duration(effect.age_s),
        "looked_for_in": _looked_for_in(effect),
    }


add_list(
    contacts,
    "refused",
    lambda pool, limit: RefusedContacts(pool).all(limit),
    _refused_row,
    explain="List contacts that CRM refuses as they are. The user's next change is sent again.",
    empty="CRM refuses no contact.",
)
add_list(
    effects,
    "list",
    lambda pool, limit: OpenEffects(pool).all(limit),
    _effect_row,
    explain="List writes without an answer: `unknown` ones need a decision, overdue ones a replay.",
    empty="Every write to Zoho has its answer.",
)


@effects.command("resolve")
def effects_resolve(
    operation: Annotated[str, typer.Argument(help="As `effects list` names it.")],
    business_id: Annotated[str, typer.Argument(help="The application's id, as listed.")],
    did_not_happen: Annotated[
        bool,
        typer.Option(
            "--did-not-happen", help="You saw in Zoho that it was not done: it may be done again."
        ),
    ] = False,
    look_again: Annotated[
        bool,
        typer.Option("--look-again", help="Search Zoho for it once more, and act on the result."),
    ] = False,
    org: OrgOption = "default",
) -> None:
    """Decide about a write that is `unknown`, or `intended` and overdue with its message given up.

    Then replay its message, with --i-know-what-happened if it was given up as outcome_unknown.
    """
    if did_not_happen == look_again:
        print_error("Give exactly one of --did-not-happen and --look-again.")
        raise typer.Exit(2)

    async def resolve() -> bool:
        async with open_database() as pool:
            open_effects = OpenEffects(pool)
            act = open_effects.did_not_happen if did_not_happen else open_effects.look_again
            return await act(org, operation, business_id)

    if not asyncio.run(resolve()):
        print_error(
            "No effect of this name and id is unknown, or intended and overdue."
            " See `zoho-relay effects list`."
        )
        raise typer.Exit(1)
    print_line("Resolved. Replay its message now.")


def _looked_for_in(effect: OpenEffect) -> str:
    if effect.state != "intended":
        return ""
    return duration(effect.look_in_s) if effect.look_in_s > 0 else "overdue"


async def _queues() -> list[TableRow]:
    rows: list[TableRow] = []
    async with rabbitmq.connect(BrokerSettings.load().amqp_url) as broker:
        for name in rabbitmq.work_queues():
            state = await broker.state(name)
            if state is not None:
                rows.append(
                    {
                        "queue": name,
                        "messages": state.messages,
                        "consumers": state.consumers,
                    }
                )
    return rows
