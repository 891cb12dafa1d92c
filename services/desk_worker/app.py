"""Compose desk-worker: its routes, and the poller beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.desk_worker.erasing.desk_tickets import CLEANUP, DeskErasure
from services.desk_worker.handlers.escalations import (
    add_message,
    close_ticket,
    open_ticket,
    raise_priority,
)
from services.desk_worker.handlers.users import know_new_email, know_user
from services.desk_worker.handlers.webhooks import notice_ticket
from services.desk_worker.repositories.escalations import Escalations
from services.desk_worker.repositories.polls import Polls
from services.desk_worker.repositories.users import Users
from services.desk_worker.settings import Settings
from services.desk_worker.tickets.tickets import Tickets
from services.desk_worker.watching.adoption import Adoption
from services.desk_worker.watching.poller import Poller, PollPacing
from services.desk_worker.watching.staff_messages import StaffMessages
from services.desk_worker.watching.ticket_watcher import TicketWatcher
from shared.contracts.commands import (
    SupportCloseRequested,
    SupportEscalated,
    SupportMessageAdded,
    SupportPriorityRaised,
    UserSignedUp,
    UserUpdated,
)
from shared.contracts.webhooks import WebhookReceived
from shared.erasing.placeholder import Placeholders
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.outbox.committer import Committer
from shared.worker import WorkerParts, worker_parts
from shared.zoho.products.desk.client import ZohoDesk
from shared.zoho.products.desk.profile import DESK
from shared.zoho.quota.priority import Priority

SERVICE, SCHEMA = "desk-worker", "desk"
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class DeskParts:
    """The parts that the handlers and the poller share."""

    desk: ZohoDesk
    escalations: Escalations
    users: Users
    tickets: Tickets
    watcher: TicketWatcher
    adoption: Adoption


async def main(settings: Settings, stop: asyncio.Event) -> None:
    async with worker_parts(
        SERVICE,
        SCHEMA,
        settings,
        migrations=MIGRATIONS,
        organization_ids={DESK.name: settings.zoho_desk_org_id},
        products=(DESK,),
        stop=stop,
    ) as parts:
        shared = desk_parts(parts, settings)
        erasure = await parts.erasure(desk_erasure(parts, shared, settings), cleanup=CLEANUP)
        async with parts.messaging(routes(parts, shared, erasure)) as messaging:
            await poller(parts, settings, shared, messaging.committer).run(stop)


def desk_parts(
    parts: WorkerParts, settings: Settings, priority: Priority | None = None
) -> DeskParts:
    """Build the parts. Their calls have this priority in Zoho's quota, or that of commands."""
    desk = ZohoDesk(parts.http, settings).on(priority or Priority.COMMANDS)
    escalations = Escalations(parts.pool, parts.vault, parts.blind_index)
    tickets = Tickets(
        desk,
        parts.effects,
        escalations,
        escalation_field=settings.zoho_desk_escalation_field,
        fallback_email=settings.desk_fallback_email,
    )
    users = Users(parts.pool, parts.blind_index)
    watcher = TicketWatcher(escalations, desk)
    adoption = Adoption(escalations, users, tickets, watcher)
    return DeskParts(desk, escalations, users, tickets, watcher, adoption)


def desk_erasure(parts: WorkerParts, shared: DeskParts, settings: Settings) -> DeskErasure:
    """Desk's part of erasures."""
    return DeskErasure(
        desk=shared.desk,
        effects=parts.effects,
        escalations=shared.escalations,
        tickets=shared.tickets,
        placeholders=Placeholders(parts.blind_index),
        fallback_email=settings.desk_fallback_email,
        delete_tickets=settings.desk_erasure_tickets == "delete",
    )


def routes(parts: WorkerParts, shared: DeskParts, erasure: Route) -> Routes:
    """All that desk-worker handles."""
    return Routes(
        commands={"user.erasure_requested.v1": erasure, **commands(shared)},
        webhooks=webhooks(parts, shared),
    )


def commands(shared: DeskParts) -> Mapping[str, Route]:
    escalations, tickets, watcher = shared.escalations, shared.tickets, shared.watcher
    opened = partial(open_ticket, escalations=escalations, tickets=tickets, watcher=watcher)
    added = partial(add_message, escalations=escalations, tickets=tickets)
    raised = partial(
        raise_priority, escalations=escalations, tickets=tickets, watcher=watcher, desk=shared.desk
    )
    closed = partial(close_ticket, escalations=escalations, watcher=watcher, desk=shared.desk)
    return {
        "user.signed_up.v1": Route(
            UserSignedUp, partial(know_user, users=shared.users), lingers=True
        ),
        "user.updated.v1": Route(
            UserUpdated, partial(know_new_email, users=shared.users), lingers=True
        ),
        "support.escalated.v1": Route(
            SupportEscalated, opened, calls={"desk": 2}, records=("escalation",)
        ),
        "support.message_added.v1": Route(SupportMessageAdded, added, calls={"desk": 1}),
        "support.priority_raised.v1": Route(SupportPriorityRaised, raised, calls={"desk": 2}),
        "support.close_requested.v1": Route(SupportCloseRequested, closed, calls={"desk": 2}),
    }


def webhooks(parts: WorkerParts, shared: DeskParts) -> Mapping[str, Route]:
    noticed = partial(
        notice_ticket,
        escalations=shared.escalations,
        effects=parts.effects,
        watcher=shared.watcher,
        staff_messages=StaffMessages(shared.escalations, shared.desk),
        adoption=shared.adoption,
        metrics=parts.metrics,
    )
    return {"desk.#": Route(WebhookReceived, noticed)}


def poller(
    parts: WorkerParts, settings: Settings, shared: DeskParts, committer: Committer
) -> Poller:
    """Build the poller. It has the lowest priority: it never takes a call that a command needs."""
    slow = desk_parts(parts, settings, Priority.BACKFILL)
    return Poller(
        escalations=shared.escalations,
        users=shared.users,
        polls=Polls(parts.pool),
        watcher=slow.watcher,
        adoption=slow.adoption,
        committer=committer,
        desk=slow.desk,
        gate=parts.breakers.gate(slow.desk.org, "desk", priority=slow.desk.priority),
        metrics=parts.metrics,
        pace=PollPacing(every_s=settings.desk_poll_every_s, overlap_s=settings.desk_poll_overlap_s),
    )
