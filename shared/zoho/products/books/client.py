"""Zoho Books, one typed method per operation (https://www.zoho.com/books/api/v3/)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar

from shared.errors import Postponed, Unavailable, ZohoRejected
from shared.zoho.call.http import Operation
from shared.zoho.products.books.models import (
    BooksContact,
    BooksRefund,
    CreditNote,
    CustomerPayment,
    Invoice,
    Organization,
    account_total,
)
from shared.zoho.products.books.settings import BooksFields
from shared.zoho.products.finance.client import FinanceClient
from shared.zoho.products.finance.pages import Listing, all_rows
from shared.zoho.products.values import ZohoModel

M = TypeVar("M", bound=ZohoModel)
DatedT = TypeVar("DatedT", Invoice, CreditNote, CustomerPayment)

_GET_INVOICE: Final = Operation("books", "get_invoice", "GET", repeatable=True)
_GET_INVOICE_PDF: Final = Operation(
    "books", "get_invoice_pdf", "GET", repeatable=True, accept="pdf"
)
_LIST_INVOICES: Final = Operation("books", "list_invoices", "GET", repeatable=True)
_LIST_CONTACTS: Final = Operation("books", "list_contacts", "GET", repeatable=True)
_GET_CONTACT: Final = Operation("books", "get_contact", "GET", repeatable=True)
_UPDATE_CONTACT: Final = Operation("books", "update_contact", "PUT", repeatable=True)
_MARK_INACTIVE: Final = Operation("books", "mark_contact_inactive", "POST", repeatable=True)
_UPSERT_INVOICE: Final = Operation("books", "upsert_invoice", "PUT", repeatable=True)
_MARK_SENT: Final = Operation("books", "mark_invoice_sent", "POST", repeatable=True)
_VOID_INVOICE: Final = Operation("books", "mark_invoice_void", "POST", repeatable=True)
_WRITE_OFF: Final = Operation("books", "write_off_invoice", "POST", repeatable=True)
_GET_CREDIT_NOTE: Final = Operation("books", "get_credit_note", "GET", repeatable=True)
_LIST_CREDIT_NOTES: Final = Operation("books", "list_credit_notes", "GET", repeatable=True)
_LIST_PAYMENTS: Final = Operation("books", "list_customer_payments", "GET", repeatable=True)
CREATE_CUSTOMER_PAYMENT: Final = Operation(
    "books", "create_customer_payment", "POST", search_lag_s=10
)
_GET_PAYMENT: Final = Operation("books", "get_customer_payment", "GET", repeatable=True)
_LIST_REFUNDS: Final = Operation("books", "list_credit_note_refunds", "GET", repeatable=True)
_LIST_PAYMENT_REFUNDS: Final = Operation(
    "books", "list_customer_payment_refunds", "GET", repeatable=True
)
_LIST_CURRENCIES: Final = Operation("books", "list_currencies", "GET", repeatable=True)
_PROFIT_AND_LOSS: Final = Operation(
    "books", "profit_and_loss", "GET", repeatable=True, optional=True
)
_GET_ORGANIZATION: Final = Operation("books", "get_organization", "GET", repeatable=True)

_ADDRESSES: Final = ("billing_address", "shipping_address")
_ADDRESS: Final = ("attention", "address", "street2", "city", "state", "zip", "country", "fax")
# By creation, oldest first: what is made while pages are read comes last and moves no page.
_STABLE: Final = {"sort_column": "created_time", "sort_order": "A"}
# The list's key in answers, and in Zoho's documentation.
_PAYMENTS: Final = ("customerpayments", "customer_payments")


class ZohoBooks(FinanceClient[BooksFields]):
    """Reads what the Billing–Books integration made, and the invoices made for the application.

    Every method raises what `ZohoHttp.call` raises. Docstrings name only what an operation adds.
    """

    refunds_are_of_credit_notes = False

    async def invoice(self, invoice_id: str) -> Invoice:
        """Raises ZohoRejected (404) for an invoice that Books does not have."""
        reply = await self._call(_GET_INVOICE, f"/invoices/{invoice_id}")
        return Invoice.model_validate(reply.body["invoice"])

    async def invoice_pdf(self, invoice_id: str) -> bytes:
        """The PDF as Zoho makes it: it may hold links to Zoho's payment pages."""
        reply = await self._call(
            _GET_INVOICE_PDF, f"/invoices/{invoice_id}", params={"accept": "pdf"}
        )
        return reply.content

    async def invoice_with_number(
        self, number: str, *, customer_id: str, email: str | None
    ) -> Invoice | None:
        """A customer's invoice of this number: how an invoice of Billing's is found here.

        Ids of the two products differ, those of customers too unless the organization shares them,
        so the customer is known by its id or its email. Filters that Zoho does not know are
        ignored, so everything is compared.
        """
        params = {"invoice_number": number}
        for invoice in await self._all(_LIST_INVOICES, "/invoices", params, Invoice, "invoices"):
            theirs = invoice.customer_id == customer_id or _same(invoice.email, email)
            if invoice.invoice_number == number and theirs:
                return invoice
        return None

    async def contacts_with_email(self, email: str) -> list[BooksContact]:
        params = {"email": email, "contact_type": "customer"}
        contacts = await self._all(_LIST_CONTACTS, "/contacts", params, BooksContact, "contacts")
        return [one for one in contacts if _same(one.email, email)]

    async def contact(self, contact_id: str) -> BooksContact:
        """Raises ZohoRejected (404) for a contact that Books does not have."""
        reply = await self._call(_GET_CONTACT, f"/contacts/{contact_id}")
        return BooksContact.model_validate(reply.body["contact"])

    async def anonymize_contact(self, contact_id: str, *, name: str, email: str) -> None:
        """Empty every personal field. The nested person replaces the former ones whole."""
        body = {
            "contact_name": name,
            "company_name": "",
            "notes": "",
            "contact_persons": [
                {
                    "first_name": "",
                    "last_name": name,
                    "email": email,
                    "phone": "",
                    "mobile": "",
                    "is_primary_contact": True,
                }
            ],
            **{address: dict.fromkeys(_ADDRESS, "") for address in _ADDRESSES},
        }
        await self._call(_UPDATE_CONTACT, f"/contacts/{contact_id}", json=body)

    async def mark_contact_inactive(self, contact_id: str) -> None:
        await self._call(_MARK_INACTIVE, f"/contacts/{contact_id}/inactive")

    def contacts(self) -> Listing[BooksContact]:
        """All contacts of the organization, inactive ones too."""
        params = {"filter_by": "Status.All", "sort_column": "created_time"}
        return self._listing(_LIST_CONTACTS, "/contacts", params, BooksContact, "contacts")

    async def invoices_of(self, customer_id: str) -> list[Invoice]:
        """All invoices of a customer, oldest first."""
        params = {"customer_id": customer_id, **_STABLE}
        invoices = await self._all(_LIST_INVOICES, "/invoices", params, Invoice, "invoices")
        return [one for one in invoices if one.customer_id == customer_id]

    def invoices_dated(self, first: date, last: date) -> Listing[Invoice]:
        """Invoices dated in the range, both days included. Drafts and void ones too."""
        return self._dated(_LIST_INVOICES, "/invoices", first, last, Invoice, "invoices")

    def invoices_unpaid(self) -> Listing[Invoice]:
        """Invoices with something left to pay."""
        params = {"filter_by": "Status.Unpaid", **_STABLE}
        return self._listing(
            _LIST_INVOICES,
            "/invoices",
            params,
            Invoice,
            "invoices",
            wanted=lambda one: one.counts and one.balance > 0,
        )

    async def upsert_invoice(self, invoice_id: str, body: Mapping[str, Any]) -> Invoice:
        """Make or update the invoice that carries our id in the unique custom field.

        Zoho's own idempotency (`X-Upsert`), documented on PUT only.
        """
        headers = {
            "X-Unique-Identifier-Key": self._settings.zoho_books_invoice_field or "",
            "X-Unique-Identifier-Value": invoice_id,
            "X-Upsert": "true",
        }
        # In the body too: whether an insert stores the headers' value nobody documents.
        field = {"api_name": self._settings.zoho_books_invoice_field, "value": invoice_id}
        body = {**body, "custom_fields": [field]}
        reply = await self._call(_UPSERT_INVOICE, "/invoices", json=body, headers=headers)
        return Invoice.model_validate(reply.body["invoice"])

    async def mark_invoice_sent(self, invoice_id: str) -> None:
        """Issue a draft. Zoho mails nothing."""
        await self._call(_MARK_SENT, f"/invoices/{invoice_id}/status/sent")

    async def mark_invoice_void(self, invoice_id: str) -> None:
        await self._call(_VOID_INVOICE, f"/invoices/{invoice_id}/status/void")

    async def write_off_invoice(self, invoice_id: str) -> None:
        await self._call(_WRITE_OFF, f"/invoices/{invoice_id}/writeoff")

    def credit_notes_dated(self, first: date, last: date) -> Listing[CreditNote]:
        return self._dated(
            _LIST_CREDIT_NOTES, "/creditnotes", first, last, CreditNote, "creditnotes"
        )

    async def credit_note(self, creditnote_id: str) -> CreditNote:
        reply = await self._call(_GET_CREDIT_NOTE, f"/creditnotes/{creditnote_id}")
        return CreditNote.model_validate(reply.body["creditnote"])

    def customer_payments_dated(self, first: date, last: date) -> Listing[CustomerPayment]:
        path = "/customerpayments"
        return self._dated(_LIST_PAYMENTS, path, first, last, CustomerPayment, *_PAYMENTS)

    def customer_payments_before(
        self, day: date, *, modified_since: date
    ) -> Listing[CustomerPayment]:
        """Payments dated before `day` that were modified since, as far as their rows say when.

        `last_modified_time` is documented for invoices, and used by public code for payments.
        Where Zoho ignores it, more pages come.
        """
        until = (day - timedelta(days=1)).isoformat()
        since = f"{modified_since.isoformat()}T00:00:00-0000"
        params = {"date_end": until, "last_modified_time": since, **_STABLE}

        def is_wanted(payment: CustomerPayment) -> bool:
            modified = payment.last_modified_time
            is_recent = modified is None or modified.date() >= modified_since
            return payment.date is not None and payment.date < day and is_recent

        return self._listing(
            _LIST_PAYMENTS,
            "/customerpayments",
            params,
            CustomerPayment,
            *_PAYMENTS,
            wanted=is_wanted,
        )

    async def create_customer_payment(
        self,
        *,
        contact_id: str,
        invoice_id: str,
        payment_id: str,
        amount: Decimal,
        mode: str,
        paid_on: date,
    ) -> CustomerPayment:
        """Record an offline payment of an invoice. Our `payment_id` is `reference_number`.

        Zoho records another one each time it is called: only inside an effect.
        """
        body = {
            "customer_id": contact_id,
            "payment_mode": mode,
            "amount": amount,
            "date": paid_on.isoformat(),
            "reference_number": payment_id,
            "invoices": [{"invoice_id": invoice_id, "amount_applied": amount}],
        }
        reply = await self._call(CREATE_CUSTOMER_PAYMENT, "/customerpayments", json=body)
        return CustomerPayment.model_validate(reply.body["payment"])

    async def customer_payment_with_reference(
        self, payment_id: str, *, contact_id: str
    ) -> CustomerPayment | None:
        """The contact's payment that carries our id. A new one may be missing for seconds."""
        params = {"customer_id": contact_id, "reference_number": payment_id}
        fetch = self._page(_LIST_PAYMENTS, "/customerpayments")
        for row in await all_rows(fetch, params, *_PAYMENTS):
            payment = CustomerPayment.model_validate(row)
            is_of_contact = payment.customer_id in (contact_id, None)
            if payment.reference_number == payment_id and is_of_contact:
                return payment
        return None

    async def customer_payment(self, payment_id: str) -> CustomerPayment:
        reply = await self._call(_GET_PAYMENT, f"/customerpayments/{payment_id}")
        return CustomerPayment.model_validate(reply.body["payment"])

    def credit_note_refunds_dated(self, first: date, last: date) -> Listing[BooksRefund]:
        """Refunds of all credit notes in the range. Books has no filter by date for them."""
        return self._listing(
            _LIST_REFUNDS,
            "/creditnotes/refunds",
            {},
            BooksRefund,
            "creditnote_refunds",
            wanted=lambda refund: refund.date is not None and first <= refund.date <= last,
        )

    async def customer_payment_refunds(self, payment_id: str) -> list[BooksRefund]:
        path = f"/customerpayments/{payment_id}/refunds"
        return await self._all(_LIST_PAYMENT_REFUNDS, path, {}, BooksRefund, "payment_refunds")

    async def currencies(self) -> list[str]:
        """The codes of the organization's currencies, its base currency among them."""
        fetch = self._page(_LIST_CURRENCIES, "/settings/currencies")
        return [str(row["currency_code"]) for row in await all_rows(fetch, {}, "currencies")]

    async def operating_income(self, first: date, last: date) -> Decimal | None:
        """What Zoho's profit-and-loss report says was earned, in the base currency, without tax.

        The report is undocumented (docs/zoho/finance.md §4.4). None when this organization does
        not answer it, or in another form than the one that public clients read. Nothing depends on
        it, so an outage or a spent quota counts as no answer too.
        """
        params = {
            "from_date": first.isoformat(),
            "to_date": last.isoformat(),
            "filter_by": "TransactionDate.CustomDate",
        }
        try:
            reply = await self._call(_PROFIT_AND_LOSS, "/reports/profitandloss", params=params)
        except (ZohoRejected, Unavailable, Postponed):
            return None
        return account_total(reply.body.get("profit_and_loss"), "operating income")

    async def organization(self, organization_id: str) -> Organization:
        reply = await self._call(_GET_ORGANIZATION, f"/organizations/{organization_id}")
        return Organization.model_validate(reply.body["organization"])

    def _dated(
        self,
        operation: Operation,
        path: str,
        first: date,
        last: date,
        model: type[DatedT],
        *keys: str,
    ) -> Listing[DatedT]:
        # `date_start` and `date_end` are used by public code.
        params = {"date_start": first.isoformat(), "date_end": last.isoformat(), **_STABLE}
        return self._listing(
            operation,
            path,
            params,
            model,
            *keys,
            wanted=lambda one: one.date is not None and first <= one.date <= last,
        )

    def _listing(
        self,
        operation: Operation,
        path: str,
        params: Mapping[str, str],
        model: type[M],
        *keys: str,
        wanted: Callable[[M], bool] = lambda _: True,
    ) -> Listing[M]:
        fetch = self._page(operation, path)
        return Listing(fetch=fetch, params=params, keys=keys, model=model, wanted=wanted)

    async def _all(
        self, operation: Operation, path: str, params: Mapping[str, str], model: type[M], key: str
    ) -> list[M]:
        rows = await all_rows(self._page(operation, path), params, key)
        return [model.model_validate(row) for row in rows]


def _same(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.casefold() == other.casefold()
