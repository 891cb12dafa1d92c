"""Call each method of `ZohoBilling`."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from shared.zoho.products.billing.models import BillingInvoice, Customer, Payment
from shared.zoho.products.books.models import BooksRefund
from tests.contract.calls.given import (
    TODAY,
    Calls,
    a_card_payment,
    a_customer,
    a_subscription,
    an_unpaid_invoice,
)
from tests.contract.conftest import Clients

CALLS: Final = Calls()


@CALLS("create_customer")
async def _(zoho: Clients) -> None:
    await a_customer(zoho)


@CALLS("customer")
async def _(zoho: Clients) -> None:
    await zoho.billing.customer((await a_customer(zoho)).customer_id)


@CALLS("customers_with_email")
async def _(zoho: Clients) -> None:
    await a_customer(zoho)
    assert await zoho.billing.customers_with_email("ada@example.com")


@CALLS("customer_of_user")
async def _(zoho: Clients) -> None:
    await a_customer(zoho)
    assert await zoho.billing.customer_of_user("u1", email="ada@example.com")


@CALLS("update_customer")
async def _(zoho: Clients) -> None:
    await zoho.billing.update_customer(
        (await a_customer(zoho)).customer_id,
        display_name="Ada King",
        email="ada.king@example.com",
        last_name="King",
        phone="",
        user_id="u1",
    )


@CALLS("anonymize_customer")
async def _(zoho: Clients) -> None:
    customer = await a_customer(zoho)
    await zoho.billing.anonymize_customer(
        customer.customer_id, display_name="Erased user 1", email="erased-1@erased.invalid"
    )
    emptied = await zoho.billing.customer(customer.customer_id)
    assert (emptied.email, emptied.last_name) == ("erased-1@erased.invalid", None)


@CALLS("delete_card")
async def _(zoho: Clients) -> None:
    customer = await a_customer(zoho)
    await zoho.sandbox.add_card(customer.customer_id)
    (card,) = await zoho.billing.cards(customer.customer_id)
    await zoho.billing.delete_card(customer.customer_id, card.card_id)
    assert not await zoho.billing.cards(customer.customer_id)


@CALLS("mark_customer_inactive")
async def _(zoho: Clients) -> None:
    await zoho.billing.mark_customer_inactive((await a_customer(zoho)).customer_id)


@CALLS("plan")
async def _(zoho: Clients) -> None:
    await zoho.billing.plan("basic-monthly")


@CALLS("mark_customer")
async def _(zoho: Clients) -> None:
    assert await zoho.billing.mark_customer(await a_customer(zoho), "u-marked")


@CALLS("addon")
async def _(zoho: Clients) -> None:
    await zoho.billing.addon("extra-seat")


@CALLS("create_subscription")
async def _(zoho: Clients) -> None:
    customer = await a_customer(zoho)
    await zoho.sandbox.add_card(customer.customer_id)
    (card,) = await zoho.billing.cards(customer.customer_id)
    await zoho.billing.create_subscription(
        customer_id=customer.customer_id,
        subscription_id="s1",
        plan_code="pro-monthly",
        quantity=2,
        trial_days=14,
        coupon_code="WELCOME10",
        starts_at=TODAY,
        card_id=card.card_id,
    )


@CALLS("subscription")
async def _(zoho: Clients) -> None:
    await zoho.billing.subscription((await a_subscription(zoho)).subscription_id)


@CALLS("subscription_with_reference")
async def _(zoho: Clients) -> None:
    customer_id = (await a_subscription(zoho)).customer_id or ""
    assert await zoho.billing.subscription_with_reference("s1", customer_id=customer_id)


@CALLS("subscriptions_of")
async def _(zoho: Clients) -> None:
    assert await zoho.billing.subscriptions_of((await a_subscription(zoho)).customer_id or "")


@CALLS("update_subscription")
async def _(zoho: Clients) -> None:
    subscription = await a_subscription(zoho)
    await zoho.billing.update_subscription(
        subscription.subscription_id, plan_code="pro-monthly", quantity=3, at_term_end=True
    )


@CALLS("cancel_subscription")
async def _(zoho: Clients) -> None:
    zoho_id = (await a_subscription(zoho)).subscription_id
    await zoho.billing.cancel_subscription(zoho_id, at_term_end=True)
    await zoho.billing.cancel_subscription(zoho_id, at_term_end=False)


@CALLS("reactivate_subscription")
async def _(zoho: Clients) -> None:
    zoho_id = (await a_subscription(zoho)).subscription_id
    await zoho.billing.cancel_subscription(zoho_id, at_term_end=True)
    await zoho.billing.reactivate_subscription(zoho_id)


@CALLS("invoices_of")
async def _(zoho: Clients) -> None:
    subscription = await a_subscription(zoho)
    assert await zoho.billing.invoices_of(customer_id=subscription.customer_id)
    assert await zoho.billing.invoices_of(subscription_id=subscription.subscription_id)


@CALLS("invoice")
async def _(zoho: Clients) -> None:
    await zoho.billing.invoice((await an_unpaid_invoice(zoho))[0])


@CALLS("collect_invoice")
async def _(zoho: Clients) -> None:
    await a_card_payment(zoho)


@CALLS("void_invoice")
async def _(zoho: Clients) -> None:
    await zoho.billing.void_invoice((await an_unpaid_invoice(zoho))[0])


@CALLS("write_off_invoice")
async def _(zoho: Clients) -> None:
    await zoho.billing.write_off_invoice((await an_unpaid_invoice(zoho))[0], reason="too old")


@CALLS("cards")
async def _(zoho: Clients) -> None:
    customer_id = (await a_customer(zoho)).customer_id
    await zoho.sandbox.add_card(customer_id)
    assert await zoho.billing.cards(customer_id)


@CALLS("create_payment")
async def _(zoho: Clients) -> None:
    invoice_id, customer_id = await an_unpaid_invoice(zoho)
    await zoho.billing.create_payment(
        customer_id=customer_id,
        payment_id="p1",
        amount=Decimal("5.10"),
        mode="banktransfer",
        paid_on=TODAY,
        invoice_id=invoice_id,
    )


@CALLS("payment")
async def _(zoho: Clients) -> None:
    await zoho.billing.payment(await a_card_payment(zoho))


@CALLS("payments_of")
async def _(zoho: Clients) -> None:
    await a_card_payment(zoho)


@CALLS("refund_payment")
async def _(zoho: Clients) -> None:
    payment_id = await a_card_payment(zoho)
    await zoho.billing.refund_payment(payment_id, amount=Decimal("1.5"), description="ref r1")


@CALLS("customer_rows")
async def _(zoho: Clients) -> None:
    await a_customer(zoho)
    assert [one async for one in zoho.billing.customer_rows(Customer)]


@CALLS("invoice_rows")
async def _(zoho: Clients) -> None:
    await an_unpaid_invoice(zoho)
    listing = zoho.billing.invoice_rows(BillingInvoice, lambda one: True, status="Unpaid")
    assert [one async for one in listing]


@CALLS("invoice_as")
async def _(zoho: Clients) -> None:
    invoice_id, _ = await an_unpaid_invoice(zoho)
    assert (await zoho.billing.invoice_as(BillingInvoice, invoice_id)).number


@CALLS("invoice_pdf")
async def _(zoho: Clients) -> None:
    invoice_id, _ = await an_unpaid_invoice(zoho)
    assert (await zoho.billing.invoice_pdf(invoice_id)).startswith(b"%PDF")


@CALLS("payment_as")
async def _(zoho: Clients) -> None:
    assert (await zoho.billing.payment_as(Payment, await a_card_payment(zoho))).amount


@CALLS("payment_rows")
async def _(zoho: Clients) -> None:
    await a_card_payment(zoho)
    assert [one async for one in zoho.billing.payment_rows(Payment, lambda one: True)]


@CALLS("transaction_rows")
async def _(zoho: Clients) -> None:
    await a_card_payment(zoho)
    rows = zoho.billing.transaction_rows(BooksRefund, "PAYMENT", lambda one: True)
    assert [one async for one in rows]
