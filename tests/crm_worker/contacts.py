"""Look at CRM's contacts, and publish what crm-worker makes them from."""

from __future__ import annotations

import json
import uuid
from typing import Any

import aio_pika

from deploy.driving.system_driver import SystemDriver
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
