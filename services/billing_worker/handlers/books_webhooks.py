"""Handle Books' webhooks about invoices, and about payments and credit notes applied to them.

They come from workflow rules: bare records without an event's name or id. Each is a hint, and the
state of the invoices it names is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.billing_worker.handlers.webhook_burst import wait_for_burst
from services.billing_worker.invoices.invoice_sync import InvoiceSync
from services.billing_worker.repositories.invoices import Invoices
from shared.contracts.webhooks import WebhookReceived
from shared.messaging.handling.routes import Route
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics

_EVENTS: Final = (
    *("invoice_changed", "invoice_created", "invoice_updated", "invoice_voided"),
    *("payment_changed", "customerpayment_changed", "customer_payment_changed"),
    "creditnote_changed",
)
_RECORDS: Final = ("invoice", "payment", "customerpayment", "customer_payment", "creditnote")
# Lists of the invoices that a payment or a credit note was applied to.
_APPLIED_TO: Final = ("invoices", "invoices_credited")


@dataclass(frozen=True, kw_only=True)
class BooksWebhookHandlers:
    invoices: Invoices
    invoice_sync: InvoiceSync
    metrics: Metrics

    def routes(self) -> dict[str, Route]:
        """Handlers by routing key."""
        return {f"books.{event}.v1": Route(WebhookReceived, self.changed) for event in _EVENTS}

    async def changed(self, message: WebhookReceived, work: UnitOfWork) -> None:
        """Read every announced invoice that the record names, and announce what has changed.

        One that was not announced yet is left to the lookup, which announces its state of then.
        """
        await wait_for_burst(message)
        matched = False
        for number in dict.fromkeys(_invoice_numbers(message.payload)):
            stored = await self.invoices.find_by_number(work.org, number)
            if stored is not None and stored.announced_at is not None:
                matched = True
                await self.invoice_sync.refresh(work, stored)
        if not matched:
            self.metrics.webhooks_received.labels(
                product=message.product, outcome="unmatched", org=message.org
            ).inc()


def _invoice_numbers(payload: Mapping[str, Any]) -> Iterator[str]:
    """The numbers of the invoices that the record is, or was applied to."""
    data = payload.get("data")
    records = data if isinstance(data, Mapping) else payload
    for name in _RECORDS:
        record = records.get(name)
        if not isinstance(record, Mapping):
            continue
        rows = [record, *(row for key in _APPLIED_TO for row in record.get(key) or ())]
        for row in rows:
            number = row.get("invoice_number") if isinstance(row, Mapping) else None
            if isinstance(number, str) and number:
                yield number
