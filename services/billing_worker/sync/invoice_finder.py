"""Finds in Books the invoices that Billing made, and announces them.

Zoho's own integration carries an invoice from Billing to Books, a little later and under another
id: it is found there by its number and customer. What is absent after an hour counts as a gap, and
is looked for on and on, ever less often.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog

from services.billing_worker.repositories.invoices import Invoices, StoredInvoice
from services.billing_worker.repositories.users import User, Users
from services.billing_worker.sync.invoice_sync import issued
from shared.background import Background
from shared.errors import IntegrationError, Misconfigured, Postponed
from shared.messaging.outbox.committer import Committer
from shared.observability import logs
from shared.observability.metrics import Metrics
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import Invoice

_LOG = structlog.get_logger()
_AT_ONCE: Final = 10
_LEASE_S: Final = 120.0
_GAP_AFTER_S: Final = 3600.0
_SOONEST_S: Final = 2.0
_LATEST_S: Final = 1800.0


class InvoiceFinder(Background):
    """A background task of billing-worker; replicas share the work by leases."""

    def __init__(
        self,
        *,
        zoho: ZohoBilling,
        books: ZohoBooks,
        users: Users,
        invoices: Invoices,
        committer: Committer,
        metrics: Metrics,
        every_s: float = 0.5,
    ) -> None:
        super().__init__("invoice finder")
        self._zoho = zoho
        self._books = books
        self._users = users
        self._invoices = invoices
        self._committer = committer
        self._metrics = metrics
        self._every_s = every_s

    async def _run(self) -> None:
        while True:
            try:
                found = await self.look()
            except Exception as error:
                _LOG.warning("looking for invoices failed", **logs.describe(error))
                found = 0
            if not found:
                await asyncio.sleep(self._every_s)

    async def look(self) -> int:
        """Look for those that are due now; how many those were."""
        due = await self._invoices.lease(limit=_AT_ONCE, lease_s=_LEASE_S)
        await asyncio.gather(*(self._look_for(one) for one in due))
        return len(due)

    async def _look_for(self, one: StoredInvoice) -> None:
        try:
            found = await self._in_books(one)
            if found is not None:
                await self._announce(one, *found)
                return
            wait_s = _wait_s(one)
        except Postponed as error:
            wait_s = max(error.retry_after_s, _SOONEST_S)
        except Misconfigured:
            wait_s = 60.0
        except IntegrationError as error:
            _LOG.info("an invoice could not be looked for", **logs.describe(error))
            wait_s = max(_wait_s(one), 30.0)
        await self._look_again(one, wait_s)

    async def _in_books(self, one: StoredInvoice) -> tuple[User, Invoice] | None:
        user = await self._users.get(one.org, one.user_id)
        if user is None or user.customer_id is None or one.billing_id is None:
            return None
        billed = await self._zoho.invoice(one.billing_id)
        if billed.number is None:
            return None  # a draft has none yet
        invoice = await self._books.invoice_with_number(
            billed.number, customer_id=user.customer_id, email=user.email
        )
        if invoice is None or not invoice.counts:
            return None
        return user, invoice

    async def _announce(self, one: StoredInvoice, user: User, invoice: Invoice) -> None:
        async with self._committer.begin(one.org) as work:
            self._invoices.hold(work, one)
            await self._invoices.record(work, one.invoice_id, user.user_id, invoice)
            work.publish(
                issued(
                    one.invoice_id,
                    user.user_id,
                    invoice,
                    subscription_id=one.subscription_id,
                    origin="zoho",
                )
            )

    async def _look_again(self, one: StoredInvoice, wait_s: float) -> None:
        gap = _age_s(one) >= _GAP_AFTER_S
        if gap and not one.gap_counted:
            self._metrics.gaps_found.labels(product="books", org=one.org).inc()
        await self._invoices.look_again(one, after_s=wait_s, gap=gap)


def _age_s(one: StoredInvoice) -> float:
    return (datetime.now(UTC) - one.wanted_at).total_seconds()


def _wait_s(one: StoredInvoice) -> float:
    """A quarter of its age: soon at first, then ever less often, since calls are scarce."""
    return min(max(_age_s(one) / 4, _SOONEST_S), _LATEST_S)
