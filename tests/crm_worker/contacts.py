"""Look at CRM's contacts, and publish what crm-worker makes them from."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import aio_pika
import asyncpg

from deploy.driving.system_driver import SystemDriver
from services.crm_worker.repositories.contacts import WantedContact
from services.zoho_sandbox.driver import Json

ADA: Json = {"user_id": "u1", "email": "ada@example.com", "full_name": "Ada B. Lace"}


def tags(contact: Json) -> set[str]:
    return {tag["name"] for tag in contact["Tag"]}


async def contact(stage: SystemDriver, what: str = "contact", **fields: Any) -> Json:
    return await stage.zoho(
        "crm", "contacts", what, lambda c: all(c.get(f) == v for f, v in fields.items())
    )


async def subscription_changed(stage: SystemDriver, user_id: str, tier: str, version: int) -> None:
    """Publish the event that billing-worker announces."""
    event = {
        "event_id": str(uuid.uuid4()),
        "occurred_at": "2026-01-01T00:00:00Z",
        "org": "default",
        "subject": f"user:{user_id}",
        "version": version,
        "tier_version": version,
        "user_id": user_id,
        "subscription_id": "s1",
        "status": "live",
        "active": True,
        "plan_code": "pro-monthly",
        "tier": tier,
        "cause": "created",
    }
    channel = stage.channel
    exchange = await channel.get_exchange("zoho.events")
    await exchange.publish(
        aio_pika.Message(json.dumps(event).encode(), message_id=str(event["event_id"])),
        "subscription.changed.v1",
    )


async def contact_of_staff(stage: SystemDriver, email: str) -> Json:
    """Load a contact that staff have made."""
    staff = {"id": "487600000000000003", "name": "Staff", "email": "staff@example.com"}
    made: Json = {
        "id": "487600000000900001",
        "Email": email,
        "Last_Name": "Office",
        "Tag": [],
        "Created_By": staff,
        "Created_Time": "2026-01-01T00:00:00+00:00",
    }
    await stage.sandbox.load({"crm": {"contacts": [made]}})
    return made


def leased(user_id: str) -> WantedContact:
    """Return a contact that a flusher holds, under lease 7."""
    return WantedContact(
        org="default",
        user_id=user_id,
        lease=7,
        version=2,
        is_behind=True,
        fields={},
        in_crm={},
        tier="Free Tier",
        sent_tags=None,
        zoho_id=None,
        failures=0,
        retags=0,
        refused_calls=0,
        go_by_id=False,
        changed_by_key="user.signed_up.v1",
        changed_by_id=None,
    )


async def until(database: asyncpg.Connection, query: str, value: object) -> None:
    """Return once the query's first value is this one."""
    async with asyncio.timeout(20):
        while await database.fetchval(query) != value:  # noqa: ASYNC110 - no event announces it
            await asyncio.sleep(0.02)


async def until_synced(database: asyncpg.Connection) -> None:
    """Return once CRM has all that was wanted. What waits after a failure is brought forward."""
    async with asyncio.timeout(20):
        while await database.fetchval(
            "SELECT count(*) FROM crm.contacts WHERE sent_version < wanted_version"
        ):
            await bring_forward(database)


async def bring_forward(database: asyncpg.Connection, user_id: str | None = None) -> None:
    """Let the time pass that a contact, or each, waits after a failure."""
    await database.execute(
        """
        WITH held AS (  -- in the workers' order: otherwise both wait for each other
            SELECT org, user_id FROM crm.contacts
            WHERE failures > 0 AND ($1::text IS NULL OR user_id = $1)
            ORDER BY org, user_id FOR UPDATE
        )
        UPDATE crm.contacts c SET leased_until = '-infinity'
        FROM held WHERE c.org = held.org AND c.user_id = held.user_id
        """,
        user_id,
    )
    await asyncio.sleep(0.05)
