"""Find Billing's invoices in Books and announce them.

Zoho's own integration copies an invoice from Billing to Books, a little later and under another
id. It is found there by its number and customer. An invoice that is absent after an hour counts
as a gap. It is looked for further, less and less often, until it turns up, is void or deleted in
Billing, or is a month old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from services.billing_worker.invoices.invoice_sync import invoice_issued
from services.billing_worker.repositories.invoices import Invoices, LookupOutcome, StoredInvoice
from services.billing_worker.repositories.users import User, Users
from shared.background import PeriodicTask
from shared.errors import IntegrationError, Misconfigured, Postponed, ZohoRejected
from shared.messaging.outbox.committer import Committer
from shared.observability import logs
from shared.observability.metrics import Metrics
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.billing.models import BillingInvoice
from shared.zoho.products.books.models import Invoice

_LOG = structlog.get_logger()
_AT_ONCE: Final = 10
_LEASE_S: Final = 120.0
_GAP_AFTER_S: Final = 3600.0
_SOONEST_S: Final = 2.0
_LATEST_S: Final = 1800.0
_GIVE_UP_AFTER_S: Final = 30 * 86_400.0


FindCopy = Callable[[BillingInvoice, User], Awaitable[Invoice | None]]
"""Find the ledger's copy of an invoice of Billing's. None while there is none."""


class InvoiceFinder(PeriodicTask):
    """Background task of billing-worker. Replicas share the work by leases.

    `copy_of` finds an invoice in Books, or is Billing's own invoice for an organization without.
    """

    def __init__(
        self,
        *,
        zoho: ZohoBilling,
        copy_of: FindCopy,
        users: Users,
        invoices: Invoices,
        committer: Committer,
        metrics: Metrics,
        every_s: float = 1.0,
    ) -> None:
        super().__init__("invoice finder", every_s=every_s)
        self._zoho = zoho
        self._copy_of = copy_of
        self._users = users
        self._invoices = invoices
        self._committer = committer
        self._metrics = metrics

    async def _run_once(self) -> bool:
        return await self.look_up_due() > 0

    async def look_up_due(self) -> int:
        """Look for the invoices that are due now. Returns their number."""
        due = await self._invoices.lease_due(limit=_AT_ONCE, lease_s=_LEASE_S)
        await asyncio.gather(*(self._look_up(stored) for stored in due))
        return len(due)

    async def _look_up(self, stored: StoredInvoice) -> None:
        try:
            match await self._in_books(stored):
                case (user, invoice):
                    await self._announce(stored, user, invoice)
                    return
                case "void" | "deleted" as outcome:
                    await self._end(stored, outcome)
                    return
                case "draft" | "absent" as outcome if _age_s(stored) >= _GIVE_UP_AFTER_S:
                    await self._end(stored, outcome)
                    return
            wait_s = _wait_s(stored)
        except Postponed as error:
            wait_s = max(error.retry_after_s, _SOONEST_S)
        except Misconfigured:
            wait_s = 60.0
        except IntegrationError as error:
            _LOG.info("an invoice could not be looked for", **logs.describe(error))
            wait_s = max(_wait_s(stored), 30.0)
        await self._reschedule(stored, wait_s)

    async def _in_books(self, stored: StoredInvoice) -> tuple[User, Invoice] | LookupOutcome:
        """The invoice in Books and its user, or why it is not there now."""
        user = await self._users.get(stored.org, stored.user_id)
        if user is None or user.customer_id is None or stored.billing_id is None:
            return "absent"
        try:
            billed = await self._zoho.invoice(stored.billing_id)
        except ZohoRejected as error:
            if error.status != 404:
                raise
            return "deleted"
        if billed.status.lower() in ("void", "voided"):
            return "void"
        if billed.number is None or billed.status.lower() == "draft":
            return "draft"
        invoice = await self._copy_of(billed, user)
        if invoice is None or not invoice.counts:
            return "absent"
        return user, invoice

    async def _end(self, stored: StoredInvoice, outcome: LookupOutcome) -> None:
        await self._invoices.end_lookup(stored, outcome)
        _LOG.warning(
            "invoice lookup ended", org=stored.org, invoice_id=stored.invoice_id, outcome=outcome
        )

    async def _announce(self, stored: StoredInvoice, user: User, invoice: Invoice) -> None:
        async with self._committer.begin(stored.org) as work:
            self._invoices.require_lease(work, stored)
            await self._invoices.record(work, stored.invoice_id, user.user_id, invoice)
            if user.contact_id is None and invoice.customer_id is not None:
                await self._users.record_contact(work, user.user_id, invoice.customer_id)
            work.publish(
                invoice_issued(
                    stored.invoice_id,
                    user.user_id,
                    invoice,
                    subscription_id=stored.subscription_id,
                    origin="zoho",
                ),
                once_for=stored.invoice_id,
            )

    async def _reschedule(self, stored: StoredInvoice, wait_s: float) -> None:
        gap = _age_s(stored) >= _GAP_AFTER_S
        if gap and not stored.gap_counted:
            self._metrics.gaps_found.labels(product="books", org=stored.org).inc()
        await self._invoices.reschedule_lookup(stored, after_s=wait_s, gap=gap)


def _age_s(stored: StoredInvoice) -> float:
    return (datetime.now(UTC) - stored.wanted_at).total_seconds()


def _wait_s(stored: StoredInvoice) -> float:
    """A quarter of its age: soon at first, then less and less often, because calls are scarce."""
    return min(max(_age_s(stored) / 4, _SOONEST_S), _LATEST_S)
