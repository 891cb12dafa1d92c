"""SQL of what was received."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from shared.messaging.outbox import Outbox, Row
from shared.storage.retention import Rule

SCHEMA: Final = "gateway"

_DAY_S: Final = 86_400.0


class NewWebhook(NamedTuple):
    """A webhook about to be stored, and the outbox row that passes it on.

    `macs`, one per key in use, the writing one first, are of the event's id or, where Zoho gave
    none (`by_body`), of the body.
    """

    id: UUID
    org: str
    product: str
    event: str
    by_body: bool
    macs: list[bytes]
    body: bytes
    received_at: datetime
    outbox: Row


def retention(*, bodies_s: float = 7 * _DAY_S, ids_s: float = 190 * _DAY_S) -> list[Rule]:
    """How long webhooks are kept. Zoho's own log of events, from which gaps are found, has 180
    days: what is known must reach beyond that.

    Source: https://www.zoho.com/en-ng/billing/kb/webhooks/event-log-retention.html
    """
    return [
        Rule(
            f"{SCHEMA}.webhooks",
            "body IS NOT NULL AND received_at < $1",
            bodies_s,
            clear="body = NULL",
        ),
        Rule(f"{SCHEMA}.webhooks", "received_at < $1", ids_s),
        # No worker said that it handled it: none is there for such events, or it is far behind.
        Rule("relay.open_webhooks", "opened_at < $1", age_s=900.0),
        Rule(f"{SCHEMA}.outbox", "published_at < $1", age_s=3600.0),
    ]


class Webhooks:
    """`gateway.webhooks`, with the outbox rows that belong to them."""

    def __init__(self, pool: asyncpg.Pool, outbox: Outbox) -> None:
        self._pool = pool
        self._outbox = outbox

    async def store(self, webhooks: Sequence[NewWebhook], *, keep: bool) -> list[bool]:
        """Store those that are new, each with its outbox row, in one transaction.

        Returns which were new, in order. `keep`: this process publishes them; else the relay does.
        """
        # In the order of their keys, so that replicas that store the same ones wait for each other
        # instead of blocking each other.
        ordered = sorted(webhooks, key=lambda webhook: (webhook.by_body, webhook.macs[0]))
        async with self._pool.acquire() as connection, connection.transaction():
            if any(len(webhook.macs) > 1 for webhook in ordered):
                known = await self._known_by_older_keys(connection, ordered)
                ordered = [webhook for webhook in ordered if webhook.id not in known]
            new = await self._insert(connection, ordered)
            rows = [webhook.outbox for webhook in ordered if webhook.id in new]
            if rows:
                await self._outbox.insert(connection, rows, keep=keep)
        return [webhook.id in new for webhook in webhooks]

    async def _insert(
        self, connection: asyncpg.pool.PoolConnectionProxy, webhooks: Sequence[NewWebhook]
    ) -> set[UUID]:
        found = await connection.fetch(
            """
            WITH item AS (
                SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[],
                                     $6::bytea[], $7::bytea[], $8::timestamptz[])
                    AS i (id, org, product, event, by_body, mac, body, received_at)
            ), opened AS (
                INSERT INTO relay.open_webhooks (org, product, body_mac, webhook_id)
                SELECT org, product, mac, id FROM item WHERE by_body
                ON CONFLICT DO NOTHING
                RETURNING webhook_id
            )
            INSERT INTO gateway.webhooks (id, org, product, event, event_mac, body, received_at)
            SELECT id, org, product, event, CASE WHEN NOT by_body THEN mac END, body, received_at
            FROM item
            WHERE NOT by_body OR id IN (SELECT webhook_id FROM opened)
            ON CONFLICT DO NOTHING
            RETURNING id
            """,
            [webhook.id for webhook in webhooks],
            [webhook.org for webhook in webhooks],
            [webhook.product for webhook in webhooks],
            [webhook.event for webhook in webhooks],
            [webhook.by_body for webhook in webhooks],
            [webhook.macs[0] for webhook in webhooks],
            [webhook.body for webhook in webhooks],
            [webhook.received_at for webhook in webhooks],
        )
        return {row["id"] for row in found}

    async def _known_by_older_keys(
        self, connection: asyncpg.pool.PoolConnectionProxy, webhooks: Sequence[NewWebhook]
    ) -> set[UUID]:
        """Those that were stored under a key that is being replaced."""
        older = [(webhook, mac) for webhook in webhooks for mac in webhook.macs[1:]]
        found = await connection.fetch(
            """
            SELECT i.id
            FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[])
                AS i (id, org, product, mac)
            WHERE EXISTS (SELECT FROM gateway.webhooks w
                          WHERE w.org = i.org AND w.product = i.product AND w.event_mac = i.mac)
               OR EXISTS (SELECT FROM relay.open_webhooks o
                          WHERE o.org = i.org AND o.product = i.product AND o.body_mac = i.mac)
            """,
            [webhook.id for webhook, _ in older],
            [webhook.org for webhook, _ in older],
            [webhook.product for webhook, _ in older],
            [mac for _, mac in older],
        )
        return {row["id"] for row in found}
