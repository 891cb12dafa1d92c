"""Store authentic webhooks: sealed, once, and in groups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

import orjson

from services.webhook_gateway.load_monitor import LoadMonitor
from services.webhook_gateway.repositories.webhooks import NewWebhook, Webhooks
from services.webhook_gateway.requests.refusals import Malformed
from services.webhook_gateway.requests.webhook_request import WebhookEvent
from shared.contracts.webhooks import Product
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import DataKey, DayKey, Vault
from shared.messaging.batcher import Batcher
from shared.messaging.handling.routes import WEBHOOKS
from shared.messaging.messages.outgoing_message import SEALED, OutgoingMessage, sealing_context
from shared.messaging.outbox.outbox import OutboxRow
from shared.storage.pool import unavailable_when_down


class DirectPublish(Protocol):
    """Publishes what was just committed, from memory (`shared.messaging.outbox`)."""

    @property
    def keeps_up(self) -> bool: ...

    def send_soon(self, rows: Sequence[OutboxRow]) -> None: ...


class Accepted(NamedTuple):
    """`new` is false for a repetition: it was stored before, under another id."""

    webhook_id: UUID
    new: bool


class QueuedWebhook(NamedTuple):
    org: str
    product: Product
    event: WebhookEvent


class WebhookIngest:
    """Stores what waits in one statement. When that fails, one by one.

    Args:
        stored_within_s: how long a group may take. Zoho gives up after 5 s. Our 503 comes first.
            A webhook that was stored all the same is recognized when Zoho repeats it.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        vault: Vault,
        index: BlindIndex,
        publisher: DirectPublish,
        load: LoadMonitor,
        *,
        stored_within_s: float = 4.0,
    ) -> None:
        self._webhooks = webhooks
        self._vault = vault
        self._index = index
        self._publisher = publisher
        self._load = load
        self._stored_within_s = stored_within_s
        self._group: Batcher[QueuedWebhook, Accepted] = Batcher(
            "store webhooks", self._store, limit=200
        )

    def submit(self, org: str, product: Product, event: WebhookEvent) -> asyncio.Future[Accepted]:
        """Queue it to be stored. The result is set once it is stored durably, or is known to be.

        Raises, from the result:
            Unavailable: the database or the sealing keys are unreachable. It may be stored all the
                same.
        """
        self._load.count()
        return self._group.run(QueuedWebhook(org, product, event))

    async def idle(self) -> None:
        """Return once nothing is being stored."""
        await self._group.idle()

    async def _store(self, group: list[QueuedWebhook]) -> list[Accepted]:
        publish_directly = self._publisher.keeps_up and not self._load.is_high
        with unavailable_when_down():
            async with asyncio.timeout(self._stored_within_s):
                webhooks = await self._sealed(group)
                new = await self._webhooks.store(webhooks, publish_directly=publish_directly)
        stored = list(zip(webhooks, new, strict=True))
        if publish_directly:
            self._publisher.send_soon([webhook.outbox for webhook, is_new in stored if is_new])
        return [Accepted(webhook.id, is_new) for webhook, is_new in stored]

    async def _sealed(self, group: list[QueuedWebhook]) -> list[NewWebhook]:
        # Sealed as a group: that takes half the time of sealing each as it comes.
        keys = {
            org: await self._vault.key_of(DayKey(org)) for org in {queued.org for queued in group}
        }
        now = datetime.now(UTC)
        return [self._new_webhook(queued, keys[queued.org], now) for queued in group]

    def _new_webhook(self, queued: QueuedWebhook, key: DataKey, now: datetime) -> NewWebhook:
        org, product, event = queued
        row_id = uuid4()
        message = _message_to_worker(str(row_id), org, product, event, now, key)
        return NewWebhook(
            # The kept body is the sealed message that the worker gets.
            OutboxRow(row_id, org, message, message.body, sealed=True),
            product,
            event.event,
            event.identity is None,
            self._macs(org, product, event),
            now,
        )

    def _macs(self, org: str, product: Product, event: WebhookEvent) -> list[bytes]:
        if event.identity is None:
            return self._index.macs(f"body {product} {org}", event.raw)
        return self._index.macs(f"event {product} {org}", event.identity.encode())


def _message_to_worker(
    webhook_id: str, org: str, product: Product, event: WebhookEvent, now: datetime, key: DataKey
) -> OutgoingMessage:
    """Return the message to the worker. An undocumented event may be dropped by the broker."""
    # A WebhookReceived. The model would validate these values again, at three times the cost.
    message = {
        "webhook_id": webhook_id,
        "org": org,
        "product": product,
        "event": event.event,
        "event_id": event.event_id,
        "event_time": event.event_time,
        "received_at": now,
        "payload": event.payload,
    }
    try:
        body = orjson.dumps(message)
    except orjson.JSONEncodeError:  # it reads deeper nesting than it writes: 254 levels
        raise Malformed("the body is nested too deeply") from None
    return OutgoingMessage(
        WEBHOOKS,
        f"{product}.{event.event}.v1",
        webhook_id,
        key.seal(body, sealing_context(webhook_id)),
        mandatory=event.known,
        correlation_id=webhook_id,
        timestamp=now,
        headers={"org": org, SEALED: 1},
    )
