"""Hold all SQL of payments and refunds. Storing a payment keeps it from a second announcement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

import asyncpg

from shared.contracts.events import Origin
from shared.crypto.blind_index import BlindIndex
from shared.crypto.blind_index_table import BlindIndexTable
from shared.crypto.envelope import UserKey, Vault
from shared.crypto.opaque_ids import opaque_id
from shared.crypto.sealed_columns import SealedColumns
from shared.errors import NotYetKnown, PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.names import Names
from shared.storage.recoveries import Recoveries

PaymentOutcome = Literal["succeeded", "failed"]

# Without ON CONFLICT on purpose: when two announce the same payment at once, one must fail.
_ADD = """
    INSERT INTO billing.payments
        (org, payment_id, user_id, zoho_id_sealed, origin, outcome, amount, currency, invoice_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

_REFUND = """
    INSERT INTO billing.refunds (org, refund_id, payment_id, amount) VALUES ($1, $2, $3, $4)
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
        self._index = index
        self._sealed = SealedColumns(vault, "billing.payments")
        self._names = Names(pool, "billing")
        self._recoveries = Recoveries(pool)
        self._by_zoho_id = BlindIndexTable(pool, index, "billing")

    def id_of(self, org: str, zoho_id: str) -> str:
        """Our id of Zoho's payment `zoho_id`: always the same, and it reveals nothing of Zoho's."""
        return opaque_id(self._index, org, "pay", zoho_id)

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
        zoho_id = await self._sealed.open(org, "zoho_id", payment_id, sealed)
        return StoredPayment(zoho_id=zoho_id, **values)

    async def ids_of_user(self, org: str, user_id: str) -> list[str]:
        """Our ids of all payments of a user that succeeded."""
        rows = await self._pool.fetch(
            """
            SELECT payment_id FROM billing.payments
            WHERE org = $1 AND user_id = $2 AND outcome = 'succeeded' ORDER BY payment_id
            """,
            org,
            user_id,
        )
        return [row["payment_id"] for row in rows]

    async def unknown(self, org: str, payment_id: str) -> NotYetKnown | PermanentError:
        """The error of a command about a payment that is not recorded.

        It waits when another message names the payment. Otherwise nobody ever will record it,
        except after a restore: what was known then is learned again from Zoho.
        """
        reason, code = "no payment has this id", "unknown_payment"
        if not await self._may_be_named(org, payment_id):
            return PermanentError(reason, code=code)
        return NotYetKnown(reason, kind="payment", key=payment_id, code=code)

    async def _may_be_named(self, org: str, payment_id: str) -> bool:
        if await self._names.line_of(org, "payment", payment_id) is not None:
            return True
        return await self._recoveries.searched() is not None

    async def find_by_zoho_id(self, org: str, zoho_id: str) -> StoredPayment | None:
        payment_id = await self._by_zoho_id.find(org, "payment", zoho_id)
        return await self.get(org, payment_id) if payment_id else None

    async def recorded_at(self, org: str, zoho_id: str) -> datetime | None:
        """When Zoho's payment was recorded, by PostgreSQL's clock. None when it was not."""
        payment_id = await self._by_zoho_id.find(org, "payment", zoho_id)
        if payment_id is None:
            return None
        recorded: datetime | None = await self._pool.fetchval(
            "SELECT created_at FROM billing.payments WHERE org = $1 AND payment_id = $2",
            org,
            payment_id,
        )
        return recorded

    async def add(self, work: UnitOfWork, payment: StoredPayment) -> None:
        """Record a payment being announced. The commit fails when another announces it too."""
        owner = UserKey(payment.org, payment.user_id)
        sealed = await self._sealed.seal(owner, "zoho_id", payment.payment_id, payment.zoho_id)
        work.record(
            _ADD,
            payment.org,
            payment.payment_id,
            payment.user_id,
            sealed,
            payment.origin,
            payment.outcome,
            payment.amount,
            payment.currency,
            payment.invoice_id,
        )
        self._by_zoho_id.add(
            work,
            payment.org,
            "payment",
            payment.zoho_id,
            payment.payment_id,
            user_id=payment.user_id,
        )
        work.record_name("payment", payment.payment_id, payment.user_id)
        work.record_fact("payment", payment.payment_id)

    async def refunded_total(self, org: str, payment_id: str) -> Decimal:
        """The sum of our own refunds of a payment."""
        total: Decimal = await self._pool.fetchval(
            """
            SELECT coalesce(sum(amount), 0) FROM billing.refunds
            WHERE org = $1 AND payment_id = $2
            """,
            org,
            payment_id,
        )
        return total

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
