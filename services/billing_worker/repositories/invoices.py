"""Hold all SQL of invoices, from the first hint of one to its announcement and later states."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

import asyncpg

from shared.contracts.events import Origin
from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import UserKey, Vault
from shared.crypto.opaque_ids import opaque_id
from shared.crypto.sealed_columns import SealedColumns
from shared.errors import NotYetKnown, PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.names import Names
from shared.storage.recoveries import Recoveries
from shared.zoho.products.books.models import Invoice

_COLUMNS = """org, invoice_id, user_id, subscription_id, billing_sealed, books_sealed, number,
    status, total, balance, currency, dated, due_on, origin, wanted_at, lease, gap_counted,
    announced_at"""

# A hint that names the subscription is looked up at once. A hint without it waits a moment for
# one that does, so that the announcement can name the subscription.
_REQUEST_LOOKUP = """
    INSERT INTO billing.invoices AS i
        (org, invoice_id, user_id, subscription_id, billing_sealed, look_at)
    VALUES ($1, $2, $3, $4, $5,
            now() + CASE WHEN $4::text IS NULL THEN interval '2 s' ELSE interval '0' END)
    ON CONFLICT (org, invoice_id) DO UPDATE
    SET subscription_id = coalesce(i.subscription_id, excluded.subscription_id),
        billing_sealed = coalesce(i.billing_sealed, excluded.billing_sealed),
        look_at = least(i.look_at, excluded.look_at), lookup_ended = NULL
"""

_SAVE = """
    INSERT INTO billing.invoices AS i
        (org, invoice_id, user_id, books_sealed, number, status, total, balance, currency, dated,
         due_on, origin, announced_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, CASE WHEN $13 THEN now() END)
    ON CONFLICT (org, invoice_id) DO UPDATE
    SET books_sealed = excluded.books_sealed, number = excluded.number, status = excluded.status,
        total = excluded.total, balance = excluded.balance, currency = excluded.currency,
        dated = excluded.dated, due_on = excluded.due_on,
        announced_at = coalesce(i.announced_at, excluded.announced_at)
"""

_LINES = """
    UPDATE billing.invoices SET lines_sealed = $3 WHERE org = $1 AND invoice_id = $2
"""

LookupOutcome = Literal["void", "deleted", "draft", "absent"]
"""Why an invoice of Billing's is not looked for in Books any more."""


@dataclass(frozen=True)
class StoredInvoice:
    """`billing_id` and `books_id` are Zoho's, as far as they are known."""

    org: str
    invoice_id: str
    user_id: str
    subscription_id: str | None
    billing_id: str | None
    books_id: str | None
    number: str | None
    status: str | None
    total: Decimal | None
    balance: Decimal | None
    currency: str | None
    dated: date | None
    due_on: date | None
    origin: str
    wanted_at: datetime
    lease: int
    gap_counted: bool
    announced_at: datetime | None


class Invoices:
    def __init__(self, pool: asyncpg.Pool, vault: Vault, index: BlindIndex) -> None:
        self._pool = pool
        self._index = index
        self._sealed = SealedColumns(vault, "billing.invoices")
        self._names = Names(pool, "billing")
        self._recoveries = Recoveries(pool)

    def id_of(self, org: str, zoho_id: str) -> str:
        """Our id of Zoho's invoice `zoho_id`: always the same, and it reveals nothing of Zoho's."""
        return opaque_id(self._index, org, "inv", zoho_id)

    async def get(self, org: str, invoice_id: str) -> StoredInvoice | None:
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM billing.invoices"  # noqa: S608 - a constant
            " WHERE org = $1 AND invoice_id = $2",
            org,
            invoice_id,
        )
        return await self._stored(row) if row else None

    async def unknown(self, org: str, invoice_id: str) -> NotYetKnown | PermanentError:
        """The error of a command about an invoice that is not recorded.

        It waits when another message names the invoice. Otherwise nobody ever will record it,
        except after a restore: what was known then is learned again from Zoho.
        """
        reason, code = "no invoice has this id", "unknown_invoice"
        if not await self._may_be_named(org, invoice_id):
            return PermanentError(reason, code=code)
        return NotYetKnown(reason, kind="invoice", key=invoice_id, code=code)

    async def _may_be_named(self, org: str, invoice_id: str) -> bool:
        if await self._names.line_of(org, "invoice", invoice_id) is not None:
            return True
        return await self._recoveries.searched() is not None

    async def ids_of_user(self, org: str, user_id: str) -> list[str]:
        """Our ids of all invoices of a user."""
        rows = await self._pool.fetch(
            """
            SELECT invoice_id FROM billing.invoices
            WHERE org = $1 AND user_id = $2 ORDER BY invoice_id
            """,
            org,
            user_id,
        )
        return [row["invoice_id"] for row in rows]

    async def find_by_number(self, org: str, number: str) -> StoredInvoice | None:
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM billing.invoices"  # noqa: S608 - a constant
            " WHERE org = $1 AND number = $2",
            org,
            number,
        )
        return await self._stored(row) if row else None

    async def request_lookup(
        self, work: UnitOfWork, user_id: str, billing_id: str, *, subscription_id: str | None
    ) -> None:
        """Have an invoice of Billing's looked up in Books until it is there."""
        invoice_id = self.id_of(work.org, billing_id)
        owner = UserKey(work.org, user_id)
        sealed = await self._sealed.seal(owner, "billing", invoice_id, billing_id)
        work.record(_REQUEST_LOOKUP, work.org, invoice_id, user_id, subscription_id, sealed)

    def require_lease(self, work: UnitOfWork, stored: StoredInvoice) -> None:
        """Make the commit fail if another replica took over the lease or announced the invoice."""
        work.record(
            "SELECT billing.hold_invoice($1, $2, $3)", stored.org, stored.invoice_id, stored.lease
        )

    def require_unchanged(self, work: UnitOfWork, stored: StoredInvoice) -> None:
        """Make the commit fail if the invoice has changed since it was read."""
        work.record(
            "SELECT billing.expect_invoice($1, $2, $3, $4)",
            stored.org,
            stored.invoice_id,
            stored.status,
            stored.balance,
        )

    async def record(
        self,
        work: UnitOfWork,
        invoice_id: str,
        user_id: str,
        invoice: Invoice,
        *,
        origin: Origin = "zoho",
        announced: bool = True,
    ) -> None:
        """Record Books' state of the invoice. It counts as announced from now on, or does not."""
        owner = UserKey(work.org, user_id)
        sealed = await self._sealed.seal(owner, "books", invoice_id, invoice.invoice_id)
        work.record(
            _SAVE,
            work.org,
            invoice_id,
            user_id,
            sealed,
            invoice.invoice_number,
            invoice.status,
            invoice.total,
            invoice.balance,
            invoice.currency_code,
            invoice.date,
            invoice.due_date,
            origin,
            announced,
        )
        work.record_name("invoice", invoice_id, user_id)
        work.record_fact("invoice", invoice_id)

    async def lines(self, org: str, invoice_id: str) -> str | None:
        """The recorded lines of the command; None when no command made it or none were recorded."""
        sealed: bytes | None = await self._pool.fetchval(
            "SELECT lines_sealed FROM billing.invoices WHERE org = $1 AND invoice_id = $2",
            org,
            invoice_id,
        )
        return await self._sealed.open(org, "lines", invoice_id, sealed)

    async def record_lines(
        self, work: UnitOfWork, invoice_id: str, user_id: str, lines: str
    ) -> None:
        """Record the command's lines, after `record`. Sealed: they may hold personal data."""
        sealed = await self._sealed.seal(UserKey(work.org, user_id), "lines", invoice_id, lines)
        work.record(_LINES, work.org, invoice_id, sealed)

    async def lease_due(self, *, limit: int, lease_s: float) -> list[StoredInvoice]:
        """Take invoices due for a lookup. No other replica gets them for `lease_s` seconds."""
        rows = await self._pool.fetch(
            f"""
            WITH due AS (
                SELECT org, invoice_id FROM billing.invoices
                WHERE announced_at IS NULL AND lookup_ended IS NULL AND look_at <= now()
                  AND NOT EXISTS (SELECT FROM relay.tombstones t
                                  WHERE t.org = invoices.org AND t.user_id = invoices.user_id)
                ORDER BY look_at LIMIT $1 FOR UPDATE SKIP LOCKED
            ), taken AS (
                UPDATE billing.invoices i
                SET lease = i.lease + 1, look_at = now() + make_interval(secs => $2)
                FROM due WHERE i.org = due.org AND i.invoice_id = due.invoice_id
                RETURNING i.*
            )
            SELECT {_COLUMNS} FROM taken
            """,  # noqa: S608 - a constant
            limit,
            lease_s,
        )
        return [await self._stored(row) for row in rows]

    async def reschedule_lookup(self, stored: StoredInvoice, *, after_s: float, gap: bool) -> None:
        """Look again in `after_s` seconds. `gap` records that the invoice counts as a gap."""
        await self._pool.execute(
            """
            UPDATE billing.invoices
            SET look_at = now() + make_interval(secs => $4), gap_counted = gap_counted OR $5
            WHERE org = $1 AND invoice_id = $2 AND lease = $3 AND announced_at IS NULL
            """,
            stored.org,
            stored.invoice_id,
            stored.lease,
            after_s,
            gap,
        )

    async def end_lookup(self, stored: StoredInvoice, outcome: LookupOutcome) -> None:
        """Look for it no more, unless a new hint of it comes."""
        await self._pool.execute(
            """
            UPDATE billing.invoices SET lookup_ended = $4
            WHERE org = $1 AND invoice_id = $2 AND lease = $3 AND announced_at IS NULL
            """,
            stored.org,
            stored.invoice_id,
            stored.lease,
            outcome,
        )

    async def lag_s(self, org: str) -> float:
        """Age in seconds of the oldest invoice that is not announced yet. 0 when all are."""
        age = await self._pool.fetchval(
            """
            SELECT extract(epoch FROM now() - min(wanted_at))::float8 FROM billing.invoices
            WHERE org = $1 AND announced_at IS NULL AND lookup_ended IS NULL
              AND NOT EXISTS (SELECT FROM relay.tombstones t
                              WHERE t.org = invoices.org AND t.user_id = invoices.user_id)
            """,
            org,
        )
        return age or 0.0

    async def _stored(self, row: asyncpg.Record) -> StoredInvoice:
        values = dict(row)
        for product in ("billing", "books"):
            sealed = values.pop(f"{product}_sealed")
            values[f"{product}_id"] = await self._sealed.open(
                row["org"], product, row["invoice_id"], sealed
            )
        return StoredInvoice(**values)
