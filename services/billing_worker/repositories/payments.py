"""All SQL of payments: those that were told, so that each is told once."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import asyncpg

from services.billing_worker.repositories.subscriptions import Origin
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import UserKey, Vault
from shared.messaging.handling.unit_of_work import UnitOfWork

PaymentOutcome = Literal["succeeded", "failed"]

# Without ON CONFLICT on purpose: of two that tell the same payment at once, one must fail.
_ADD = """
    INSERT INTO billing.payments
        (org, payment_id, user_id, zoho_id_sealed, origin, outcome, amount, currency, invoice_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

_INDEX = """
    INSERT INTO billing.blind_index (org, kind, index, key_id, row)
    VALUES ($1, 'payment', $2, $3, $4) ON CONFLICT DO NOTHING
"""

_REFUND = """
    INSERT INTO billing.refunds (org, refund_id, payment_id, amount) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING
"""

_NAME = """
    INSERT INTO billing.line_names (org, kind, name, subject) VALUES ($1, 'payment', $2, $3)
    ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class StoredPayment:
    org: str
    payment_id: str
    user_id: str
    zoho_id: str
    origin: Origin
    outcome: PaymentOutcome
    amount: Decimal | None
    currency: str | None
    invoice_id: str | None


@dataclass(frozen=True)
class StoredRefund:
    refund_id: str
    payment_id: str
    amount: Decimal


class Payments:
    def __init__(self, pool: asyncpg.Pool, vault: Vault, index: BlindIndex) -> None:
        self._pool = pool
        self._vault = vault
        self._index = index

    def id_of(self, org: str, zoho_id: str) -> str:
        """Our id of what Zoho calls `zoho_id`: the same each time, and telling nothing of it."""
        digest = self._index.of(org, "our payment id", zoho_id)[0].index
        return "pay_" + base64.b32encode(digest[:15]).decode().lower()

    async def get(self, org: str, payment_id: str) -> StoredPayment | None:
        row = await self._pool.fetchrow(
            """
            SELECT org, payment_id, user_id, zoho_id_sealed, origin, outcome, amount, currency,
                invoice_id
            FROM billing.payments WHERE org = $1 AND payment_id = $2
            """,
            org,
            payment_id,
        )
        if row is None:
            return None
        values = dict(row)
        sealed = values.pop("zoho_id_sealed")
        zoho_id = await self._vault.open(sealed, _place(org, payment_id))
        return StoredPayment(zoho_id=zoho_id, **values)

    async def with_zoho_id(self, org: str, zoho_id: str) -> StoredPayment | None:
        found = await self._pool.fetchval(
            """
            SELECT row FROM billing.blind_index
            WHERE org = $1 AND kind = 'payment' AND index = ANY($2) LIMIT 1
            """,
            org,
            [entry.index for entry in self._index.of(org, "payment", zoho_id)],
        )
        return await self.get(org, found) if found else None

    async def add(self, work: UnitOfWork, one: StoredPayment) -> None:
        """Record one that is told now; the commit fails when another tells it at this moment."""
        place = _place(one.org, one.payment_id)
        sealed = await self._vault.seal(UserKey(one.org, one.user_id), one.zoho_id, place)
        work.record(
            _ADD,
            one.org,
            one.payment_id,
            one.user_id,
            sealed,
            one.origin,
            one.outcome,
            one.amount,
            one.currency,
            one.invoice_id,
        )
        for entry in self._index.of(one.org, "payment", one.zoho_id):
            work.record(_INDEX, one.org, entry.index, entry.key_id, one.payment_id)
        work.record(_NAME, one.org, one.payment_id, f"user:{one.user_id}")

    async def refunded(self, org: str, payment_id: str) -> Decimal:
        """What our own refunds have given back of a payment."""
        given_back: Decimal = await self._pool.fetchval(
            """
            SELECT coalesce(sum(amount), 0) FROM billing.refunds
            WHERE org = $1 AND payment_id = $2
            """,
            org,
            payment_id,
        )
        return given_back

    async def refund(self, org: str, refund_id: str) -> StoredRefund | None:
        row = await self._pool.fetchrow(
            """
            SELECT refund_id, payment_id, amount FROM billing.refunds
            WHERE org = $1 AND refund_id = $2
            """,
            org,
            refund_id,
        )
        return StoredRefund(**row) if row else None

    def record_refund(
        self, work: UnitOfWork, payment_id: str, refund_id: str, amount: Decimal
    ) -> None:
        work.record(_REFUND, work.org, refund_id, payment_id, amount)


def _place(org: str, payment_id: str) -> str:
    return f"billing.payments.zoho_id:{org}:{payment_id}"
