"""Call each method of `ZohoBooks`."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from tests.contract.calls.given import (
    FIRST,
    LAST,
    Calls,
    a_book_invoice,
    a_card_payment,
    a_credit_note,
)
from tests.contract.conftest import Clients

CALLS: Final = Calls()


@CALLS("invoice")
async def _(zoho: Clients) -> None:
    await zoho.books.invoice((await a_book_invoice(zoho))[0])


@CALLS("invoice_pdf")
async def _(zoho: Clients) -> None:
    assert await zoho.books.invoice_pdf((await a_book_invoice(zoho))[0])


@CALLS("invoice_with_number")
async def _(zoho: Clients) -> None:
    invoice = await zoho.books.invoice((await a_book_invoice(zoho))[0])
    assert await zoho.books.invoice_with_number(
        invoice.invoice_number or "", customer_id=invoice.customer_id or "", email=None
    )


@CALLS("contacts_with_email")
async def _(zoho: Clients) -> None:
    await a_book_invoice(zoho)
    assert await zoho.books.contacts_with_email("ada@example.com")


@CALLS("anonymize_contact")
async def _(zoho: Clients) -> None:
    _, contact_id = await a_book_invoice(zoho)
    await zoho.books.anonymize_contact(
        contact_id, name="Erased user 1", email="erased-1@erased.invalid"
    )
    assert (await zoho.books.contact(contact_id)).contact_name == "Erased user 1"


@CALLS("mark_contact_inactive")
async def _(zoho: Clients) -> None:
    _, contact_id = await a_book_invoice(zoho)
    await zoho.books.mark_contact_inactive(contact_id)


@CALLS("invoices_of")
async def _(zoho: Clients) -> None:
    assert await zoho.books.invoices_of((await a_book_invoice(zoho))[1])


@CALLS("invoices_dated")
async def _(zoho: Clients) -> None:
    await a_book_invoice(zoho)


@CALLS("invoices_unpaid")
async def _(zoho: Clients) -> None:
    await a_book_invoice(zoho)
    assert [one async for one in zoho.books.invoices_unpaid()]


@CALLS("upsert_invoice")
async def _(zoho: Clients) -> None:
    _, customer_id = await a_book_invoice(zoho)
    line = {"description": "Hours", "quantity": Decimal("1.5"), "rate": Decimal(80)}
    await zoho.books.upsert_invoice("i1", {"customer_id": customer_id, "line_items": [line]})


@CALLS("mark_invoice_sent")
async def _(zoho: Clients) -> None:
    await zoho.books.mark_invoice_sent((await a_book_invoice(zoho))[0])


@CALLS("mark_invoice_void")
async def _(zoho: Clients) -> None:
    await zoho.books.mark_invoice_void((await a_book_invoice(zoho))[0])


@CALLS("write_off_invoice")
async def _(zoho: Clients) -> None:
    await zoho.books.write_off_invoice((await a_book_invoice(zoho))[0])


@CALLS("credit_note")
async def _(zoho: Clients) -> None:
    await zoho.books.credit_note(await a_credit_note(zoho))


@CALLS("credit_notes_dated")
async def _(zoho: Clients) -> None:
    await a_credit_note(zoho)
    assert [one async for one in zoho.books.credit_notes_dated(FIRST, LAST)]


@CALLS("customer_payments_dated")
async def _(zoho: Clients) -> None:
    await a_card_payment(zoho)
    assert [one async for one in zoho.books.customer_payments_dated(FIRST, LAST)]


@CALLS("customer_payments_before")
async def _(zoho: Clients) -> None:
    await a_card_payment(zoho)
    day = LAST + timedelta(days=1)
    payments = zoho.books.customer_payments_before(day, modified_since=FIRST)
    assert [payment async for payment in payments]


@CALLS("create_customer_payment")
async def _(zoho: Clients) -> None:
    invoice_id, contact_id = await a_book_invoice(zoho)
    await zoho.books.create_customer_payment(
        contact_id=contact_id,
        invoice_id=invoice_id,
        payment_id="p1",
        amount=Decimal(1),
        mode="cash",
        paid_on=FIRST,
    )


@CALLS("customer_payment_with_reference")
async def _(zoho: Clients) -> None:
    _, contact_id = await a_book_invoice(zoho)
    await zoho.books.customer_payment_with_reference("p1", contact_id=contact_id)


@CALLS("customer_payment")
async def _(zoho: Clients) -> None:
    await a_card_payment(zoho)
    async for listed in zoho.books.customer_payments_dated(FIRST, LAST):
        payment = await zoho.books.customer_payment(listed.payment_id)
        assert payment.currency_code == "USD"


@CALLS("contact")
async def _(zoho: Clients) -> None:
    assert (await zoho.books.contact((await a_book_invoice(zoho))[1])).currency_code == "USD"


@CALLS("contacts")
async def _(zoho: Clients) -> None:
    await a_book_invoice(zoho)
    assert [one async for one in zoho.books.contacts()]


@CALLS("currencies")
async def _(zoho: Clients) -> None:
    assert await zoho.books.currencies() == ["USD"]


@CALLS("credit_note_refunds_dated")
async def _(zoho: Clients) -> None:
    payment_id = await a_card_payment(zoho)
    await zoho.billing.refund_payment(payment_id, amount=Decimal(1), description="ref r1")
    assert [one async for one in zoho.books.credit_note_refunds_dated(FIRST, LAST)]


@CALLS("customer_payment_refunds")
async def _(zoho: Clients) -> None:
    await a_card_payment(zoho)
    payments = zoho.books.customer_payments_dated(FIRST, LAST)
    async for payment in payments:
        await zoho.books.customer_payment_refunds(payment.payment_id)


@CALLS("operating_income")
async def _(zoho: Clients) -> None:
    await a_book_invoice(zoho)
    assert await zoho.books.operating_income(FIRST, LAST)


@CALLS("organization")
async def _(zoho: Clients) -> None:
    await zoho.books.organization(zoho.raw.settings.books_organization)
