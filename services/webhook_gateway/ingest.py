"""Store authentic webhooks: sealed, once, and several in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol
from uuid import UUID, uuid4

from services.webhook_gateway.load_monitor import LoadMonitor
from services.webhook_gateway.repositories.webhooks import NewWebhook, Webhooks
from services.webhook_gateway.requests.bodies import packed
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
    """Describe the part of `shared.messaging.outbox.direct_publisher` that is used here.

    It publishes from memory what this process has just committed. `keeps_up` is false while it
    has a backlog or no broker. The outbox's relay publishes then.
    """

    @property
    def keeps_up(self) -> bool: ...

    def send_soon(self, rows: Sequence[OutboxRow]) -> None: ...


class Accepted(NamedTuple):
    """Name a webhook event that is stored, and whether it is `new`.

    It is not new when Zoho repeats one that was stored before, under another id.
    """

    webhook_id: UUID
    new: bool


class QueuedWebhook(NamedTuple):
    """Hold one event until the group that it belongs to is stored."""

    org: str
    product: Product
    event: WebhookEvent


class WebhookIngest:
    """Store all webhooks that wait by one statement, and publish them to the workers.

    When that statement fails because of one of them, each is stored alone.

    Args:
        stored_within_s: how long a group may take before its webhooks are answered with 503. Zoho
            waits 5 s for an answer, so this must be less. A webhook that was stored after all is
            recognized when Zoho repeats it.
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
        self._batcher: Batcher[QueuedWebhook, Accepted] = Batcher(
            "store webhooks", self._store, limit=200
        )

    def submit(self, org: str, product: Product, event: WebhookEvent) -> asyncio.Future[Accepted]:
        """Queue an event. Its future is done once the event is in the database.

        Raises, from the future:
            Malformed: its body cannot be written as JSON again.
            Unavailable: the database or the data keys cannot be reached, or the time was up. The
                event may be stored all the same.
        """
        self._load.count()
        return self._batcher.run(QueuedWebhook(org, product, event))

    async def idle(self) -> None:
        """Return once nothing is being stored."""
        await self._batcher.idle()

    async def _store(self, group: list[QueuedWebhook]) -> list[Accepted]:
        publish_directly = self._publisher.keeps_up and not self._load.is_high
        with unavailable_when_down():
            async with asyncio.timeout(self._stored_within_s):
                webhooks = await self._seal(group)
                new = await self._webhooks.store(webhooks, publish_directly=publish_directly)
        stored = list(zip(webhooks, new, strict=True))
        if publish_directly:
            self._publisher.send_soon([webhook.outbox for webhook, is_new in stored if is_new])
        return [Accepted(webhook.id, is_new) for webhook, is_new in stored]

    async def _seal(self, group: list[QueuedWebhook]) -> list[NewWebhook]:
        # All of a group at once takes half the time of sealing each event as it comes.
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
            # The body that is kept is the sealed message that the worker gets.
            OutboxRow(row_id, org, message, message.body, sealed=True),
            product,
            event.event,
            event.identity is None,
            self._macs(org, product, event),
            now,
        )

    def _macs(self, org: str, product: Product, event: WebhookEvent) -> list[bytes]:
        """Return the HMACs by which a repetition is recognized, one for each index key."""
        if event.identity is None:
            return self._index.macs(f"body {product} {org}", event.raw)
        return self._index.macs(f"event {product} {org}", event.identity.encode())


def _message_to_worker(
    webhook_id: str, org: str, product: Product, event: WebhookEvent, now: datetime, key: DataKey
) -> OutgoingMessage:
    """Return the message to the worker.

    An event that Zoho documents is `mandatory`: the broker must have a queue for it. Others may
    have none, and are dropped then.
    """
    # The body of a WebhookReceived. That model would check these values again, which takes three
    # times as long.
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
    body = packed(message)
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
