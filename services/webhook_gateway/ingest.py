"""Storing what is authentic: sealed, once, and together with what else waits."""

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
from shared.messaging.messages.outgoing_message import SEALED, OutgoingMessage, place_of
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
    incoming: WebhookEvent


class WebhookIngest:
    """Groups what waits into one statement. One by one when that fails.

    Args:
        stored_within_s: how long a group may take. Desk gives up after 5 s. Our 503 comes first.
            What is stored all the same is recognised when Zoho repeats it.
    """

    def __init__(
        self,
        webhooks: Webhooks,
        vault: Vault,
        index: BlindIndex,
        short_way: DirectPublish,
        pressure: LoadMonitor,
        *,
        stored_within_s: float = 4.0,
    ) -> None:
        self._webhooks = webhooks
        self._vault = vault
        self._index = index
        self._short_way = short_way
        self._pressure = pressure
        self._stored_within_s = stored_within_s
        self._group: Batcher[QueuedWebhook, Accepted] = Batcher(
            "store webhooks", self._store, limit=200
        )

    def begin(self, org: str, product: Product, incoming: WebhookEvent) -> asyncio.Future[Accepted]:
        """Put it in line. The result is there once it is stored durably, or is known to have been.

        Raises, from the result:
            Unavailable: the database is away, or the keys that seal. It may be stored all the same.
        """
        self._pressure.count()
        return self._group.run(QueuedWebhook(org, product, incoming))

    async def idle(self) -> None:
        """Return once nothing is being stored."""
        await self._group.idle()

    async def _store(self, group: list[QueuedWebhook]) -> list[Accepted]:
        keep = self._short_way.keeps_up and not self._pressure.is_high
        with unavailable_when_down():
            async with asyncio.timeout(self._stored_within_s):
                webhooks = await self._sealed(group)
                new = await self._webhooks.store(webhooks, keep=keep)
        found = list(zip(webhooks, new, strict=True))
        if keep:
            self._short_way.send_soon([webhook.outbox for webhook, is_new in found if is_new])
        return [Accepted(webhook.id, is_new) for webhook, is_new in found]

    async def _sealed(self, group: list[QueuedWebhook]) -> list[NewWebhook]:
        # All at once, and not each as it comes: that takes half the time.
        keys = {org: await self._vault.key_of(DayKey(org)) for org in {each.org for each in group}}
        now = datetime.now(UTC)
        return [self._new_webhook(each, keys[each.org], now) for each in group]

    def _new_webhook(self, waiting: QueuedWebhook, key: DataKey, now: datetime) -> NewWebhook:
        org, product, incoming = waiting
        row_id = uuid4()
        letter = _passed_on(str(row_id), org, product, incoming, now, key)
        return NewWebhook(
            # Sealed as it is passed on: what is kept is what the worker got.
            OutboxRow(row_id, org, letter, letter.body, sealed=True),
            product,
            incoming.event,
            incoming.identity is None,
            self._macs(org, product, incoming),
            now,
        )

    def _macs(self, org: str, product: Product, incoming: WebhookEvent) -> list[bytes]:
        if incoming.identity is None:
            return self._index.macs(f"body {product} {org}", incoming.raw)
        return self._index.macs(f"event {product} {org}", incoming.identity.encode())


def _passed_on(
    webhook_id: str, org: str, product: Product, incoming: WebhookEvent, now: datetime, key: DataKey
) -> OutgoingMessage:
    """The message to the worker. What Zoho does not document waits for no queue to take it."""
    # A WebhookReceived. The model itself would validate what was just made here, in three times
    # the time.
    message = {
        "webhook_id": webhook_id,
        "org": org,
        "product": product,
        "event": incoming.event,
        "event_id": incoming.event_id,
        "event_time": incoming.event_time,
        "received_at": now,
        "payload": incoming.payload,
    }
    try:
        body = orjson.dumps(message)
    except orjson.JSONEncodeError:  # it reads what it does not write: 254 levels and more
        raise Malformed("the body is nested too deeply") from None
    return OutgoingMessage(
        WEBHOOKS,
        f"{product}.{incoming.event}.v1",
        webhook_id,
        key.seal(body, place_of(webhook_id)),
        mandatory=incoming.known,
        correlation_id=webhook_id,
        timestamp=now,
        headers={"org": org, SEALED: 1},
    )
