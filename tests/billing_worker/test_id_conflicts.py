"""An id is used once: the same request again counts as done, another one is refused."""

from decimal import Decimal
from typing import Any

import pytest

from shared.contracts.commands import (
    InvoiceCreateRequested,
    InvoiceLine,
    PaymentCollectRequested,
    PaymentRecordRequested,
    PaymentRefundRequested,
    SubscriptionCancelRequested,
    SubscriptionChangeRequested,
)
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import (
    GRACE,
    a_subscription,
    an_unpaid_invoice,
    charges,
    record_cash,
    subscribe,
    with_card,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize(
    "other",
    [
        {"amount": Decimal("1.01")},
        {"currency": "EUR"},
        {"user_id": "u2"},
        {"invoice_id": "inv_another"},
    ],
    ids=lambda other: next(iter(other)),
)
async def test_a_recorded_payments_id_cannot_be_used_for_another_payment(
    upstream: Upstream, other: dict[str, Any]
) -> None:
    await an_unpaid_invoice(upstream)
    await upstream.send(GRACE)
    await upstream.event("customer.created.v1", user_id="u2")
    await upstream.send(record_cash())
    await upstream.event("payment.succeeded.v1", payment_id="p1")

    await upstream.send(record_cash(**other))

    assert (await upstream.event("command.failed.v1"))["code"] == "id_taken"
    assert len(await charges(upstream)) == 1


async def test_the_same_payment_written_differently_counts_as_done(upstream: Upstream) -> None:
    await an_unpaid_invoice(upstream)
    await upstream.send(record_cash())
    await upstream.event("payment.succeeded.v1", payment_id="p1")

    same = record_cash().model_dump(mode="json", exclude_unset=True)
    await upstream.publish(PaymentRecordRequested.routing_key, {**same, "amount": "1.00"})
    await upstream.publish(PaymentRecordRequested.routing_key, {**same, "amount": 1.0})
    await upstream.send(record_cash(payment_id="p2"))

    await upstream.event("payment.succeeded.v1", payment_id="p2")
    assert upstream.events_named("command.failed.v1") == []
    assert len(await charges(upstream)) == 2


@pytest.mark.parametrize("other", ["amount", "payment"])
async def test_a_refunds_id_cannot_be_used_for_another_refund(
    upstream: Upstream, other: str
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    paid = await upstream.event("payment.succeeded.v1", user_id="u1")
    await upstream.send(record_cash())
    await upstream.event("payment.succeeded.v1", payment_id="p1")
    refund = PaymentRefundRequested(
        payment_id=paid["payment_id"], refund_id="r1", amount=Decimal(4), reason="sorry"
    )
    await upstream.send(refund)
    await upstream.zoho("billing", "payments", "refunded", lambda p: p.get("amount_refunded") == 4)

    change = {"amount": Decimal(5)} if other == "amount" else {"payment_id": "p1"}
    await upstream.send(refund.model_copy(update=change))

    assert (await upstream.event("command.failed.v1"))["code"] == "id_taken"
    assert len(await upstream.records("billing", "refunds")) == 1


async def test_a_subscriptions_id_cannot_be_used_for_another_plan(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.send(subscribe(plan_code="pro-monthly"))

    assert (await upstream.event("command.failed.v1"))["code"] == "id_taken"
    (subscription,) = await upstream.records("billing", "subscriptions")
    assert subscription["plan"]["plan_code"] == "basic-monthly"


async def test_a_request_repeated_after_its_plan_was_changed_counts_as_done(
    upstream: Upstream,
) -> None:
    await a_subscription(upstream)
    await upstream.send(SubscriptionChangeRequested(subscription_id="s1", plan_code="pro-monthly"))
    await upstream.event("subscription.changed.v1", plan_code="pro-monthly")

    await upstream.send(subscribe())
    await upstream.send(SubscriptionCancelRequested(subscription_id="s1"))

    changed = await upstream.event("subscription.changed.v1", status="non_renewing")
    assert changed["plan_code"] == "pro-monthly"
    assert upstream.events_named("command.failed.v1") == []


@pytest.mark.parametrize(
    "other",
    [{"rate": Decimal(21)}, {"quantity": Decimal(2)}, {"description": "Play"}],
    ids=lambda other: next(iter(other)),
)
async def test_an_invoices_id_cannot_be_used_for_other_lines(
    upstream: Upstream, other: dict[str, Any]
) -> None:
    await an_unpaid_invoice(upstream)
    line = InvoiceLine(description="Work", quantity=Decimal("1.5"), rate=Decimal(20))
    request = InvoiceCreateRequested(user_id="u1", invoice_id="i1", lines=(line,))
    await upstream.send(request)
    await upstream.event("invoice.issued.v1", invoice_id="i1")

    await upstream.send(request.model_copy(update={"lines": (line.model_copy(update=other),)}))

    assert (await upstream.event("command.failed.v1"))["code"] == "id_taken"
    (own,) = [i for i in await upstream.records("books", "invoices") if i["total"] == 30]
    assert own["line_items"][0]["description"] == "Work"


async def test_an_invoice_of_zohos_is_not_created_again(upstream: Upstream) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    line = InvoiceLine(description="Work", quantity=Decimal(1), rate=Decimal(20))

    await upstream.send(InvoiceCreateRequested(user_id="u1", invoice_id=invoice_id, lines=(line,)))

    assert (await upstream.event("command.failed.v1"))["code"] == "id_taken"
    assert len(await upstream.records("books", "invoices")) == 1
