"""Amounts are read exactly, and written with the decimals of their currency."""

from decimal import Decimal

import pytest

from shared.contracts.commands import (
    InvoiceCreateRequested,
    InvoiceLine,
    PaymentCollectRequested,
    PaymentRefundRequested,
)
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import an_unpaid_invoice, record_cash, with_card

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_recorded_payment_is_announced_with_its_currencys_decimals(
    upstream: Upstream,
) -> None:
    await an_unpaid_invoice(upstream)

    await upstream.send(record_cash(amount=Decimal(3)))

    paid = await upstream.event("payment.succeeded.v1", payment_id="p1")
    assert paid["amount"] == "3.00"


async def test_an_invoice_and_what_is_collected_for_it_are_announced_alike(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    issued = await upstream.event("invoice.issued.v1", invoice_id=invoice_id)
    await with_card(upstream)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))

    paid = await upstream.event("payment.succeeded.v1", user_id="u1")
    (in_billing,) = await upstream.records("billing", "invoices")
    assert paid["amount"] == issued["total"] == issued["balance"] == f"{in_billing['total']:.2f}"


async def test_an_own_invoice_is_announced_with_its_currencys_decimals(upstream: Upstream) -> None:
    await an_unpaid_invoice(upstream)
    line = InvoiceLine(description="Work", quantity=Decimal("1.5"), rate=Decimal(20))

    await upstream.send(InvoiceCreateRequested(user_id="u1", invoice_id="i1", lines=(line,)))

    issued = await upstream.event("invoice.issued.v1", invoice_id="i1")
    assert (issued["total"], issued["balance"]) == ("30.00", "30.00")


async def test_a_refund_finer_than_its_payments_currency_gives_nothing_back(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    paid = await upstream.event("payment.succeeded.v1", user_id="u1")

    await upstream.send(
        PaymentRefundRequested(
            payment_id=paid["payment_id"], refund_id="r1", amount=Decimal("1.005"), reason="x"
        )
    )

    failed = await upstream.event("command.failed.v1")
    assert failed["code"] == "invalid_message"
    assert "at most 2 digits after the point" in failed["reason"]
    assert await upstream.records("billing", "refunds") == []
