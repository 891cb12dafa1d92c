"""Hold all SQL of received webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from shared.messaging.outbox.outbox import COLUMNS, Outbox, OutboxRow, columns, insert_sql
from shared.storage.retention import Rule

SCHEMA: Final = "gateway"

_DAY_S: Final = 86_400.0


_LEASE: Final = f"${len(COLUMNS) + 1}"
_OWN_COLUMNS: Final = {
    "product": "text",
    "event": "text",
    "by_body": "boolean",
    "mac": "bytea",
    "received_at": "timestamptz",
}


def _store_sql() -> str:
    own = enumerate(_OWN_COLUMNS.values(), len(COLUMNS) + 2)
    arrays = [
        *(f"${n}::{type_}[]" for n, type_ in enumerate(COLUMNS.values(), 1)),
        *(f"${n}::{type_}[]" for n, type_ in own),
    ]
    send = insert_sql(SCHEMA, "item r JOIN stored USING (id)", lease=_LEASE)
    return f"""
        WITH item AS (
            SELECT * FROM unnest({", ".join(arrays)}) AS i ({", ".join([*COLUMNS, *_OWN_COLUMNS])})
        ), opened AS (
            INSERT INTO relay.open_webhooks (org, product, body_mac, webhook_id)
            SELECT org, product, mac, id FROM item WHERE by_body
            ON CONFLICT DO NOTHING
            RETURNING webhook_id
        ), stored AS (
            INSERT INTO gateway.webhooks (id, org, product, event, event_mac, body, received_at)
            SELECT id, org, product, event, CASE WHEN NOT by_body THEN mac END, body, received_at
            FROM item
            WHERE NOT by_body OR id IN (SELECT webhook_id FROM opened)
            ON CONFLICT DO NOTHING
            RETURNING id
        ), sent AS (
            {send}
        )
        SELECT id FROM stored
        """  # noqa: S608


_STORE: Final = _store_sql()


class NewWebhook(NamedTuple):
    """A webhook about to be stored, and the outbox row that passes it on, whose body is kept.

    `macs` holds one MAC per key in use, that of the writing key first. They are of the event's id
    or, where Zoho gave none (`by_body`), of the body.
    """

    outbox: OutboxRow
    product: str
    event: str
    by_body: bool
    macs: list[bytes]
    received_at: datetime

    @property
    def id(self) -> UUID:
        return self.outbox.id

    @property
    def org(self) -> str:
        return self.outbox.org


def retention(*, bodies_s: float = 7 * _DAY_S, ids_s: float = 190 * _DAY_S) -> list[Rule]:
    """Return how long webhooks are kept.

    Gaps are found from Zoho's log of events, which has 180 days. Known ids must reach beyond that.

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
        # No worker reported that it handled the event: no queue takes it, or it is far behind.
        Rule("relay.open_webhooks", "opened_at < $1", age_s=900.0),
        Rule(f"{SCHEMA}.outbox", "published_at < $1", age_s=3600.0),
    ]


class Webhooks:
    """The table `gateway.webhooks`, with the outbox rows that belong to it."""

    def __init__(self, pool: asyncpg.Pool, outbox: Outbox) -> None:
        self._pool = pool
        self._outbox = outbox

    async def store(self, webhooks: Sequence[NewWebhook], *, publish_directly: bool) -> list[bool]:
        """Store those that are new, each with its outbox row, in one statement.

        Returns which were new, in order. `publish_directly`: this process publishes them, not
        the relay.
        """
        # In the order of their keys, so that replicas that store the same webhooks wait for each
        # other instead of deadlocking.
        ordered = sorted(webhooks, key=lambda webhook: (webhook.by_body, webhook.macs[0]))
        if any(len(webhook.macs) > 1 for webhook in ordered):
            known = await self._known_by_older_keys(ordered)
            ordered = [webhook for webhook in ordered if webhook.id not in known]
        rows = await self._pool.fetch(
            _STORE,
            *columns([webhook.outbox for webhook in ordered]),
            self._outbox.lease_s(keep=publish_directly),
            [webhook.product for webhook in ordered],
            [webhook.event for webhook in ordered],
            [webhook.by_body for webhook in ordered],
            [webhook.macs[0] for webhook in ordered],
            [webhook.received_at for webhook in ordered],
        )
        new = {row[0] for row in rows}
        return [webhook.id in new for webhook in webhooks]

    async def _known_by_older_keys(self, webhooks: Sequence[NewWebhook]) -> set[UUID]:
        """Return the webhooks that were stored under a key that is being replaced."""
        older = [(webhook, mac) for webhook in webhooks for mac in webhook.macs[1:]]
        rows = await self._pool.fetch(
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
        return {row["id"] for row in rows}
