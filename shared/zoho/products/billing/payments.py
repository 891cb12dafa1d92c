"""Invoices and payments of Zoho Billing.

Sources: https://www.zoho.com/billing/api/v1/invoices/, …/payments/.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

from shared.zoho.call.http import Operation
from shared.zoho.products.billing.models import (
    BillingInvoice,
    BillingRefund,
    Card,
    Payment,
)
from shared.zoho.products.billing.settings import BillingFields
from shared.zoho.products.finance.client import FinanceClient
from shared.zoho.products.finance.pages import Listing, all_rows
from shared.zoho.products.values import ZohoModel

M = TypeVar("M", bound=ZohoModel)

CREATE_PAYMENT: Final = Operation("billing", "create_payment", "POST", search_lag_s=10)
COLLECT_INVOICE: Final = Operation(
    "billing", "collect_invoice", "POST", search_lag_s=30, moves_money=True
)
REFUND_PAYMENT: Final = Operation(
    "billing", "refund_payment", "POST", search_lag_s=30, moves_money=True
)
_LIST_INVOICES: Final = Operation("billing", "list_invoices", "GET", repeatable=True)
_GET_INVOICE: Final = Operation("billing", "get_invoice", "GET", repeatable=True)
_GET_INVOICE_PDF: Final = Operation(
    "billing", "get_invoice_pdf", "GET", repeatable=True, accept="pdf"
)
_LIST_TRANSACTIONS: Final = Operation("billing", "list_transactions", "GET", repeatable=True)
_VOID_INVOICE: Final = Operation("billing", "void_invoice", "POST", repeatable=True)
_WRITE_OFF: Final = Operation("billing", "write_off_invoice", "POST", repeatable=True)
_LIST_CARDS: Final = Operation("billing", "list_cards", "GET", repeatable=True)
_DELETE_CARD: Final = Operation("billing", "delete_card", "DELETE", repeatable=True)
_GET_PAYMENT: Final = Operation("billing", "get_payment", "GET", repeatable=True)
_LIST_PAYMENTS: Final = Operation("billing", "list_payments", "GET", repeatable=True)


class BillingPayments(FinanceClient[BillingFields]):
    async def invoices_of(
        self, *, customer_id: str | None = None, subscription_id: str | None = None
    ) -> list[BillingInvoice]:
        """Invoices of a customer, or of one subscription. Drafts and void ones too."""
        params = {"filter_by": "Status.All"}
        if customer_id is not None:
            params["customer_id"] = customer_id
        if subscription_id is not None:
            params["subscription_id"] = subscription_id
        rows = await all_rows(self._page(_LIST_INVOICES, "/invoices"), params, "invoices")
        invoices = [BillingInvoice.model_validate(row) for row in rows]
        return [one for one in invoices if customer_id in (None, one.customer_id)]

    def invoice_rows(
        self,
        model: type[M],
        wanted: Callable[[M], bool],
        *,
        status: str = "All",
        customer_id: str | None = None,
    ) -> Listing[M]:
        """Invoices as another model reads them. Their rows have no write-offs.

        `status` is one of All, Sent, Draft, OverDue, Paid, PartiallyPaid, Void, Unpaid.
        """
        params = {"filter_by": f"Status.{status}"}
        if customer_id is not None:
            params["customer_id"] = customer_id
        fetch = self._page(_LIST_INVOICES, "/invoices")
        return Listing(fetch=fetch, params=params, keys=("invoices",), model=model, wanted=wanted)

    async def invoice_as(self, model: type[M], invoice_id: str) -> M:
        reply = await self._call(_GET_INVOICE, f"/invoices/{invoice_id}")
        return model.model_validate(reply.body["invoice"])

    async def invoice_pdf(self, invoice_id: str) -> bytes:
        """The PDF as Zoho makes it: it may hold links to Zoho's payment pages."""
        return (await self._call(_GET_INVOICE_PDF, f"/invoices/{invoice_id}")).content

    async def invoice(self, invoice_id: str) -> BillingInvoice:
        reply = await self._call(_GET_INVOICE, f"/invoices/{invoice_id}")
        return BillingInvoice.model_validate(reply.body["invoice"])

    async def collect_invoice(self, invoice_id: str, *, card_id: str) -> None:
        """Charge the card with the invoice's balance. Money: only inside an effect.

        Zoho documents a payment as the answer and gives the invoice, so nothing is read from it:
        read the invoice afterwards.

        Raises:
            ZohoRejected: declined, already paid, or no such card.
        """
        await self._call(
            COLLECT_INVOICE, f"/invoices/{invoice_id}/collect", json={"card_id": card_id}
        )

    async def void_invoice(self, invoice_id: str) -> None:
        """Void it. What was paid or credited goes back to the customer's credit."""
        await self._call(_VOID_INVOICE, f"/invoices/{invoice_id}/void")

    async def write_off_invoice(self, invoice_id: str, *, reason: str) -> None:
        await self._call(_WRITE_OFF, f"/invoices/{invoice_id}/writeoff", json={"reason": reason})

    async def cards(self, customer_id: str) -> list[Card]:
        """Stored cards, without their numbers."""
        reply = await self._call(_LIST_CARDS, f"/customers/{customer_id}/cards")
        return [Card.model_validate(row) for row in reply.body.get("cards", [])]

    async def delete_card(self, customer_id: str, card_id: str) -> None:
        """Forget a stored card. Raises ZohoRejected (404) for one that is not there."""
        await self._call(_DELETE_CARD, f"/customers/{customer_id}/cards/{card_id}")

    async def create_payment(
        self,
        *,
        customer_id: str,
        payment_id: str,
        amount: Decimal,
        mode: str,
        paid_on: date | None = None,
        invoice_id: str | None = None,
    ) -> Payment:
        """Record an offline payment. No card is charged. Our `payment_id` is `reference_number`.

        `mode` is one of check, cash, creditcard, banktransfer, bankremittance, autotransaction,
        others. Without an invoice the amount is the customer's credit.
        """
        body: dict[str, Any] = {
            "customer_id": customer_id,
            "payment_mode": mode,
            "amount": amount,
            "reference_number": payment_id,
        }
        if paid_on is not None:
            body["date"] = paid_on.isoformat()
        if invoice_id is not None:
            body["invoices"] = [{"invoice_id": invoice_id, "amount_applied": amount}]
        reply = await self._call(CREATE_PAYMENT, "/payments", json=body)
        return Payment.model_validate(reply.body["payment"])

    async def payment(self, payment_id: str) -> Payment:
        reply = await self._call(_GET_PAYMENT, f"/payments/{payment_id}")
        return Payment.model_validate(reply.body["payment"])

    async def payment_as(self, model: type[M], payment_id: str) -> M:
        reply = await self._call(_GET_PAYMENT, f"/payments/{payment_id}")
        return model.model_validate(reply.body["payment"])

    def payment_rows(self, model: type[M], wanted: Callable[[M], bool]) -> Listing[M]:
        """All payments as another model reads them, charges that failed among them."""
        fetch = self._page(_LIST_PAYMENTS, "/payments")
        return Listing(fetch=fetch, params={}, keys=("payments",), model=model, wanted=wanted)

    def transaction_rows(
        self,
        model: type[M],
        kind: Literal["INVOICE", "PAYMENT", "CREDIT", "REFUND"],
        wanted: Callable[[M], bool],
    ) -> Listing[M]:
        """Transactions of one kind, of all customers. Their rows have no currency."""
        fetch = self._page(_LIST_TRANSACTIONS, "/transactions")
        params = {"filter_by": f"TransactionType.{kind}"}
        keys = ("transactions",)
        return Listing(fetch=fetch, params=params, keys=keys, model=model, wanted=wanted)

    async def payments_of(self, customer_id: str) -> list[Payment]:
        """All payments of a customer. A listing of Zoho's SDKs that its OpenAPI file lacks."""
        fetch = self._page(_LIST_PAYMENTS, "/payments")
        rows = await all_rows(fetch, {"customer_id": customer_id}, "payments")
        payments = [Payment.model_validate(row) for row in rows]
        return [one for one in payments if one.customer_id == customer_id]

    async def refund_payment(
        self, payment_id: str, *, amount: Decimal, description: str
    ) -> BillingRefund:
        """Give money back to the card it came from. Money: only inside an effect.

        Raises:
            ZohoRejected: not paid by card (`autotransaction`), or more than was paid.
        """
        reply = await self._call(
            REFUND_PAYMENT,
            f"/payments/{payment_id}/refunds",
            json={"amount": amount, "description": description},
        )
        return BillingRefund.model_validate(reply.body["refund"])
