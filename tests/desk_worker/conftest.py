from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aio_pika
import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from services.desk_worker import app
from services.desk_worker.settings import Settings
from services.zoho_sandbox.driver import Json
from tests.kit.surroundings import Surroundings

QUEUE = "desk-worker.intake.webhooks"


@pytest.fixture
async def around(database_url: str, amqp_url: str) -> AsyncIterator[Surroundings]:
    async with Surroundings(database_url, amqp_url) as surroundings:
        yield surroundings


def settings(around: Surroundings, **more: object) -> Settings:
    """Return settings that never poll, match by our field, and look soon for lost answers."""
    chosen: dict[str, Any] = {
        "desk_poll_every_s": 3600.0,
        "zoho_desk_escalation_field": "cf_app_escalation_id",
        "effect_write_s": 0.5,
        "effect_timeout_s": 0.5,
        "settle_factor": 0.01,
        **more,
    }
    return Settings(**{**around.environment, **chosen})


@pytest.fixture
async def desk(around: Surroundings) -> AsyncIterator[Desk]:
    """A running desk-worker, seen from outside, with webhooks."""
    async with around.running(app.main, settings(around), queue=QUEUE) as stage:
        yield Desk(stage, around.environment["database_url"])


_UNSETTLED = "SELECT count(*) FROM desk.inbox"


@dataclass
class Desk:
    """Drives a desk-worker: publishes, acts as staff, and passes on what Desk would post."""

    stage: SystemDriver
    database_url: str

    async def escalate(self, **more: Any) -> Json:
        """Escalate, and return the ticket once it is announced."""
        body = escalation(**more)
        await self.stage.publish("support.escalated.v1", body)
        await self.stage.event("ticket.created.v1", escalation_id=body["escalation_id"])
        return await self.ticket(body["escalation_id"])

    async def ticket(self, escalation_id: str = "e1") -> Json:
        return await self.stage.zoho(
            "desk",
            "tickets",
            "ticket of the escalation",
            lambda t: t["cf"]["cf_app_escalation_id"] == escalation_id,
        )

    async def tickets(self) -> list[Json]:
        return await self.stage.sandbox.records("desk", "tickets")

    async def threads(self) -> list[Json]:
        return await self.stage.sandbox.records("desk", "threads")

    async def comments(self) -> list[Json]:
        return await self.stage.sandbox.records("desk", "comments")

    async def staff(self, ticket: Json, action: str, **body: Any) -> Json:
        """Do it in Desk, and return the ticket as it is then."""
        await self.stage.sandbox.ticket(ticket["id"], action, **body)
        held = await self.tickets()
        return next((t for t in held if t["id"] == ticket["id"]), ticket)

    async def post_webhook(
        self, ticket: Json, event: str = "Ticket_Update", before: Json | None = None
    ) -> None:
        """Publish what the gateway passes on when Desk posts about the ticket."""
        webhook_id, now = str(uuid.uuid4()), datetime.now(UTC)
        posted: Json = {"eventType": event, "payload": ticket}
        posted["eventTime"] = str(int(now.timestamp() * 1000))
        if before is not None:
            posted["prevState"] = before
        body = {
            "webhook_id": webhook_id,
            "product": "desk",
            "event": event.lower(),
            "event_time": now.isoformat(),
            "received_at": now.isoformat(),
            "payload": posted,
        }
        exchange = await self.stage.channel.get_exchange("zoho.webhooks")
        message = aio_pika.Message(json.dumps(body).encode(), message_id=webhook_id)
        await exchange.publish(message, f"desk.{event.lower()}.v1")

    async def put_off_polling(self) -> None:
        connection = await asyncpg.connect(self.database_url)
        await connection.execute("UPDATE desk.polls SET due_at = now() + interval '1 hour'")
        await connection.close()

    async def let_a_day_pass(self) -> None:
        """Let polling look at each ticket again."""
        connection = await asyncpg.connect(self.database_url)
        await connection.execute(
            "UPDATE desk.escalations SET looked_at = looked_at - interval '25 hours'"
        )
        await connection.close()

    async def settle(self) -> None:
        """Return once everything published before is handled and its events have come out."""
        await self._one_more()  # taken after all that was published before
        connection = await asyncpg.connect(self.database_url)
        try:
            async with asyncio.timeout(20):
                while await connection.fetchval(_UNSETTLED):  # noqa: ASYNC110 - no event announces it
                    await asyncio.sleep(0.05)
        finally:
            await connection.close()
        await self._one_more()  # announced after all that they announced

    async def _one_more(self) -> None:
        marker = f"marker-{uuid.uuid4().hex[:8]}"
        await self.escalate(escalation_id=marker, user_id=marker, email=f"{marker}@example.com")

    def events(self, routing_key: str, escalation_id: str = "e1") -> list[Json]:
        """Return the events about the escalation so far."""
        return [
            body
            for key, body in self.stage.events
            if key == routing_key
            and escalation_id
            in (body.get("escalation_id"), body.get("data", {}).get("escalation_id"))
        ]


def escalation(**more: Any) -> Json:
    return {
        "escalation_id": "e1",
        "user_id": "u1",
        "email": "ada@example.com",
        "subject": "Charged twice",
        "description": "The customer insists on a person.",
        "transcript": "user: I want <b>a person</b>.\nagent: Of course.",
        **more,
    }
