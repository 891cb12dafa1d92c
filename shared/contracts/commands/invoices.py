"""Define the commands that issue, show, list, void and write off invoices."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.commands.command import Command, References
from shared.contracts.fields import Currency, Id, InvoiceQuantity, Page, Rate, Reason, TextLine

InvoiceStatus = Literal["draft", "sent", "unpaid", "overdue", "partially_paid", "paid", "void"]


class InvoiceLine(BaseModel):
    """One line: `quantity` times `rate`, in the invoice's currency, before tax."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    description: Annotated[TextLine, Field(min_length=1)]
    quantity: InvoiceQuantity
    rate: Rate


class InvoiceCreateRequested(Command):
    """Issue an invoice in Books. `invoice.create_requested.v1`."""

    routing_key: ClassVar[str] = "invoice.create_requested.v1"

    user_id: Id
    invoice_id: Id
    lines: Annotated[tuple[InvoiceLine, ...], Field(min_length=1, max_length=100)]
    currency: Currency | None = None

    def references(self) -> References:
        return References(user_id=self.user_id, introduced=(("invoice", self.invoice_id),))


class _InvoiceCommand(Command):
    invoice_id: Id

    def references(self) -> References:
        return References(mentioned=(("invoice", self.invoice_id),))


class InvoiceRequested(_InvoiceCommand):
    """Reply with the invoice, as data or as a PDF. `invoice.requested.v1`."""

    routing_key: ClassVar[str] = "invoice.requested.v1"

    format: Literal["json", "pdf"]


class InvoiceListRequested(Command):
    """Reply with a page of the user's invoices, the newest first. `invoice.list_requested.v1`.

    `status` may apply beside another: `unpaid` is every issued invoice with a balance, `overdue`
    one of these past its due date, `partially_paid` one of these with a part paid, `sent` one of
    these with nothing paid that is not overdue. `paid` has no balance.
    """

    routing_key: ClassVar[str] = "invoice.list_requested.v1"

    user_id: Id
    status: InvoiceStatus | None = None
    page: Page = 1

    def references(self) -> References:
        return References(user_id=self.user_id)


class InvoiceVoidRequested(_InvoiceCommand):
    """Void the invoice, so that it counts for nothing. `invoice.void_requested.v1`."""

    routing_key: ClassVar[str] = "invoice.void_requested.v1"

    reason: Reason


class InvoiceWriteOffRequested(_InvoiceCommand):
    """Write off what is still owed. `invoice.write_off_requested.v1`."""

    routing_key: ClassVar[str] = "invoice.write_off_requested.v1"

    reason: Reason
