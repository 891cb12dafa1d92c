"""Prepare what must exist before a call can be made, and list calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.zoho.products.billing.models import Customer, Subscription
from shared.zoho.products.crm.models import ContactToSend
from shared.zoho.products.desk.models import Ticket
from tests.contract.conftest import Clients

Act = Callable[[Clients], Awaitable[object]]

TODAY: Final = datetime.now(UTC).date()
FIRST, LAST = TODAY - timedelta(days=30), TODAY + timedelta(days=30)


class Calls:
    """The calls of one product, by the name of the method that makes them."""

    def __init__(self) -> None:
        self.acts: dict[str, Act] = {}

    def __call__(self, method: str) -> Callable[[Act], Act]:
        def add(act: Act) -> Act:
            self.acts[method] = act
            return act

        return add


async def a_customer(zoho: Clients) -> Customer:
    return await zoho.billing.create_customer(
        user_id="u1",
        display_name="Ada Lovelace",
        email="ada@example.com",
        first_name="Ada",
        last_name="Lovelace",
        phone="+4915112345678",
    )


async def a_subscription(zoho: Clients, *, card: bool = False, **more: Any) -> Subscription:
    customer = await a_customer(zoho)
    if card:
        await zoho.sandbox.add_card(customer.customer_id)
    return await zoho.billing.create_subscription(
        customer_id=customer.customer_id,
        subscription_id="s1",
        plan_code="basic-monthly",
        **more,
    )


async def an_unpaid_invoice(zoho: Clients, *, card: bool = False) -> tuple[str, str]:
    """The ids of an invoice, and of its customer, in Billing."""
    subscription = await a_subscription(zoho, card=card)
    assert subscription.customer_id
    (invoice,) = await zoho.billing.invoices_of(subscription_id=subscription.subscription_id)
    return invoice.invoice_id, subscription.customer_id


async def a_card_payment(zoho: Clients) -> str:
    invoice_id, customer_id = await an_unpaid_invoice(zoho, card=True)
    (card,) = await zoho.billing.cards(customer_id)
    await zoho.billing.collect_invoice(invoice_id, card_id=card.card_id)
    (payment,) = await zoho.billing.payments_of(customer_id)
    return payment.payment_id


async def a_book_invoice(zoho: Clients) -> tuple[str, str]:
    """The ids of an invoice, and of its customer, in Books."""
    await a_subscription(zoho)
    invoices = [one async for one in zoho.books.invoices_dated(FIRST, LAST)]
    return invoices[0].invoice_id, invoices[0].customer_id or ""


async def a_credit_note(zoho: Clients) -> str:
    _, customer_id = await a_book_invoice(zoho)
    body = {"customer_id": customer_id, "line_items": [{"rate": 5, "quantity": 1}]}
    made = await zoho.raw.ask("POST", "/books/v3/creditnotes", json=body)
    return str(made.body["creditnote"]["creditnote_id"])


async def a_contact(zoho: Clients) -> str:
    contact = ContactToSend("u1", "ada@example.com", "Ada", "Lovelace", "+4915112345678", "Trial")
    (row,) = await zoho.crm.upsert_contacts([contact])
    assert row.id
    return row.id


async def a_ticket(zoho: Clients) -> Ticket:
    return await zoho.desk.create_ticket(
        email="ada@example.com",
        last_name="Lovelace",
        subject="I cannot sign in",
        description="Said &lt;so&gt;<br>--- Conversation Transcript ---",
        escalation_id="e1",
        priority="High",
    )
