"""Compose crm-worker: its routes, and the flusher beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from services.crm_worker.contact_sync.flusher import Flusher, FlushPacing
from services.crm_worker.contact_sync.refusals import Refusals
from services.crm_worker.contact_sync.sender import ContactSender
from services.crm_worker.erasing.crm_contacts import CLEANUP, CrmErasure
from services.crm_worker.handlers.contacts import want_changes, want_contact, want_tier
from services.crm_worker.handlers.interactions import note_interaction
from services.crm_worker.handlers.webhooks import acknowledge
from services.crm_worker.repositories.contacts import Contacts
from services.crm_worker.repositories.emails import Emails
from services.crm_worker.settings import Settings
from shared.contracts.commands import InteractionRecorded, UserSignedUp, UserUpdated
from shared.contracts.events import SubscriptionChanged
from shared.contracts.webhooks import WebhookReceived
from shared.erasing.placeholder import Placeholders
from shared.messaging.handling.routes import Route, Routes
from shared.observability.metrics import Metrics
from shared.worker import WorkerParts, worker_parts
from shared.zoho.effects.effects import Effects
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.profile import CRM

SERVICE, SCHEMA = "crm-worker", "crm"
MIGRATIONS = Path(__file__).parent / "migrations"


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
        contacts = Contacts(parts.pool, parts.vault, parts.blind_index)
        crm = ZohoCrm(parts.http, settings, version=settings.zoho_crm_version)
        emails = Emails(parts.pool, parts.blind_index)

        async def count_refused() -> None:
            count = await contacts.count_refused(crm.org)
            parts.metrics.contacts_refused.labels(org=crm.org).set(count)

        parts.health.before_scrape("refused contacts", count_refused)
        erasure = await parts.erasure(crm_erasure(parts, contacts, crm, settings), cleanup=CLEANUP)
        async with parts.messaging(
            routes(parts, contacts, crm, erasure), lag_sources=[contacts.lag_s]
        ) as messaging:
            refusals = Refusals(SERVICE, contacts, emails, messaging.committer, settings)
            flusher = Flusher(
                org=crm.org,
                contacts=contacts,
                sender=ContactSender(
                    contacts=contacts,
                    emails=emails,
                    refusals=refusals,
                    committer=messaging.committer,
                    crm=crm,
                ),
                refusals=refusals,
                gate=parts.breakers.gate(crm.org, "crm", priority=crm.priority),
                pace=FlushPacing(every_s=settings.crm_flush_every_s),
            )
            await flusher.run(stop)


def crm_erasure(
    parts: WorkerParts, contacts: Contacts, crm: ZohoCrm, settings: Settings
) -> CrmErasure:
    """CRM's part of erasures."""
    return CrmErasure(
        crm=crm,
        effects=parts.effects,
        contacts=contacts,
        placeholders=Placeholders(parts.blind_index),
        longest_flush_s=FlushPacing().lease_s,
        delete_notes=settings.crm_erasure_notes == "delete",
    )


def routes(parts: WorkerParts, contacts: Contacts, crm: ZohoCrm, erasure: Route) -> Routes:
    """All that crm-worker handles. Only notes and erasures call CRM, the flusher sends the rest."""
    return Routes(
        commands={"user.erasure_requested.v1": erasure, **commands(contacts, crm, parts.effects)},
        events=events(contacts),
        webhooks=webhooks(parts.metrics),
    )


def commands(contacts: Contacts, crm: ZohoCrm, effects: Effects) -> Mapping[str, Route]:
    note = partial(note_interaction, contacts=contacts, crm=crm, effects=effects)
    return {
        "user.signed_up.v1": Route(
            UserSignedUp, partial(want_contact, contacts=contacts), records=("user",)
        ),
        "user.updated.v1": Route(UserUpdated, partial(want_changes, contacts=contacts)),
        "interaction.recorded.v1": Route(InteractionRecorded, note, calls={"crm": 1}),
    }


def events(contacts: Contacts) -> Mapping[str, Route]:
    return {
        "subscription.changed.v1": Route(SubscriptionChanged, partial(want_tier, contacts=contacts))
    }


def webhooks(metrics: Metrics) -> Mapping[str, Route]:
    return {"crm.#": Route(WebhookReceived, partial(acknowledge, metrics=metrics))}
