"""Compose crm-worker: its routes, and beside them the flusher and the comparer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.crm_worker.contact_sync.flusher import Flusher, FlushPacing
from services.crm_worker.contact_sync.refusals import Refusals
from services.crm_worker.contact_sync.sender import ContactSender
from services.crm_worker.erasing.crm_contacts import CLEANUP, CrmErasure
from services.crm_worker.handlers.contacts import want_changes, want_contact, want_tier
from services.crm_worker.handlers.interactions import note_interaction
from services.crm_worker.handlers.webhooks import notice_contacts
from services.crm_worker.repositories.contact_fields import ContactFields
from services.crm_worker.repositories.contacts import Contacts
from services.crm_worker.repositories.crm_values import CrmValues
from services.crm_worker.repositories.emails import Emails
from services.crm_worker.repositories.watches import Watches, retention
from services.crm_worker.settings import Settings
from services.crm_worker.watching.channel import Channel, ChannelAddress
from services.crm_worker.watching.comparer import ComparisonPacing, ContactComparer
from services.crm_worker.watching.contact_watcher import ContactWatcher
from shared.contracts.commands import InteractionRecorded, UserSignedUp, UserUpdated
from shared.contracts.events import SubscriptionChanged
from shared.contracts.webhooks import WebhookReceived
from shared.erasing.placeholder import Placeholders
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.inbox.line_heads import LineHeads
from shared.messaging.outbox.committer import Committer
from shared.observability.metrics import Metrics
from shared.storage.retention import Pruner
from shared.worker import WorkerParts, worker_parts
from shared.zoho.effects.effects import Effects
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.profile import CRM
from shared.zoho.quota.priority import Priority

SERVICE, SCHEMA = "crm-worker", "crm"
MIGRATIONS = Path(__file__).parent / "migrations"
# The channel is looked after so often, in seconds.
_LOOK_S = 15.0


@dataclass(frozen=True)
class CrmParts:
    """The parts that the handlers, the flusher and the comparer share."""

    crm: ZohoCrm
    contacts: Contacts
    fields: ContactFields
    emails: Emails
    values: CrmValues
    watches: Watches
    watcher: ContactWatcher


async def main(settings: Settings, stop: asyncio.Event) -> None:
    async with worker_parts(
        SERVICE,
        SCHEMA,
        settings,
        migrations=MIGRATIONS,
        organization_ids={},
        products=(CRM,),
        stop=stop,
    ) as parts:
        shared = crm_parts(parts, settings)
        _add_metrics(parts, shared, settings)
        erasure = await parts.erasure(crm_erasure(parts, shared, settings), cleanup=CLEANUP)
        async with (
            parts.messaging(
                routes(parts, shared, erasure),
                lag_sources=[shared.contacts.lag_s],
                # Recorded by the flusher.
                recorders={"contact": shared.contacts.behind_since},
            ) as messaging,
            Pruner(parts.pool, [retention()]),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(
                comparer(parts, settings, shared, messaging.committer).run(stop),
                name="compare contacts",
            )
            await flusher(parts, settings, shared, messaging.committer).run(stop)


def crm_parts(parts: WorkerParts, settings: Settings) -> CrmParts:
    emails = Emails(parts.pool, parts.blind_index)
    fields = ContactFields(parts.pool, parts.vault)
    values = CrmValues(parts.pool, parts.vault, parts.blind_index, fields)
    return CrmParts(
        crm=ZohoCrm(parts.http, settings, version=settings.zoho_crm_version),
        contacts=Contacts(parts.pool, parts.vault, parts.blind_index, fields),
        fields=fields,
        emails=emails,
        values=values,
        watches=Watches(parts.pool),
        watcher=ContactWatcher(values, emails),
    )


def _add_metrics(parts: WorkerParts, shared: CrmParts, settings: Settings) -> None:
    org, metrics = shared.crm.org, parts.metrics

    async def count_refused() -> None:
        metrics.contacts_refused.labels(org=org).set(await shared.contacts.count_refused(org))

    async def measure_watching() -> None:
        metrics.contacts_compared_age.labels(org=org).set(await shared.watches.compared_age_s(org))
        if settings.channel_url:
            left_s = await shared.watches.channel_left_s(org)
            metrics.channel_expires_in.labels(org=org).set(left_s)

    parts.health.before_scrape("refused contacts", count_refused)
    parts.health.before_scrape("watching contacts", measure_watching)


def flusher(
    parts: WorkerParts, settings: Settings, shared: CrmParts, committer: Committer
) -> Flusher:
    """Build the flusher, which sends what CRM is behind on."""
    refusals = Refusals(SERVICE, shared.contacts, shared.emails, shared.values, committer, settings)
    return Flusher(
        org=shared.crm.org,
        contacts=shared.contacts,
        sender=ContactSender(
            contacts=shared.contacts,
            emails=shared.emails,
            refusals=refusals,
            committer=committer,
            crm=shared.crm,
            crm_values=shared.values,
        ),
        refusals=refusals,
        gate=parts.breakers.gate(shared.crm.org, "crm", priority=shared.crm.priority),
        pace=FlushPacing(every_s=settings.crm_flush_every_s),
    )


def comparer(
    parts: WorkerParts, settings: Settings, shared: CrmParts, committer: Committer
) -> ContactComparer:
    """Build the comparer. It has the lowest priority: it never takes a call that a command needs.

    The channel is opened at the priority of reads: an organization whose day is nearly used up is
    still to be heard of.
    """
    slow = shared.crm.on(Priority.BACKFILL)
    channel = None
    if settings.channel_url:
        channel = Channel(
            shared.watches,
            shared.crm.on(Priority.READS),
            ChannelAddress(settings.channel_url, settings.channel_token),
            version=settings.zoho_crm_version,
        )
    return ContactComparer(
        watches=shared.watches,
        values=shared.values,
        watcher=shared.watcher,
        committer=committer,
        crm=slow,
        channel=channel,
        gate=parts.breakers.gate(slow.org, "crm", priority=slow.priority),
        metrics=parts.metrics,
        pace=ComparisonPacing(
            every_s=settings.crm_compare_every_s,
            overlap_s=settings.crm_compare_overlap_s,
            look_s=min(_LOOK_S, settings.crm_compare_every_s),
        ),
    )


def crm_erasure(parts: WorkerParts, shared: CrmParts, settings: Settings) -> CrmErasure:
    """CRM's part of erasures."""
    return CrmErasure(
        crm=shared.crm,
        effects=parts.effects,
        contacts=shared.contacts,
        fields=shared.fields,
        placeholders=Placeholders(parts.blind_index),
        longest_flush_s=FlushPacing().lease_s,
        delete_notes=settings.crm_erasure_notes == "delete",
    )


def routes(parts: WorkerParts, shared: CrmParts, erasure: Route) -> Routes:
    """All that crm-worker handles. Only notes and erasures call CRM, the flusher sends the rest."""
    return Routes(
        commands={
            "user.erasure_requested.v1": erasure,
            **commands(shared, LineHeads(parts.pool, SCHEMA), parts.effects),
        },
        events=events(shared.contacts),
        webhooks=webhooks(parts.metrics, shared),
    )


def commands(shared: CrmParts, heads: LineHeads, effects: Effects) -> Mapping[str, Route]:
    contacts = shared.contacts
    note = partial(
        note_interaction, contacts=contacts, heads=heads, crm=shared.crm, effects=effects
    )
    return {
        "user.signed_up.v1": Route(
            UserSignedUp, partial(want_contact, contacts=contacts), records=("user",), lingers=True
        ),
        "user.updated.v1": Route(
            UserUpdated, partial(want_changes, contacts=contacts), lingers=True
        ),
        "interaction.recorded.v1": Route(InteractionRecorded, note, calls={"crm": 1}),
    }


def events(contacts: Contacts) -> Mapping[str, Route]:
    return {
        "subscription.changed.v1": Route(
            SubscriptionChanged, partial(want_tier, contacts=contacts), lingers=True
        )
    }


def webhooks(metrics: Metrics, shared: CrmParts) -> Mapping[str, Route]:
    noticed = partial(
        notice_contacts,
        values=shared.values,
        watcher=shared.watcher,
        crm=shared.crm.on(Priority.READS),
        metrics=metrics,
    )
    return {"crm.#": Route(WebhookReceived, noticed)}
