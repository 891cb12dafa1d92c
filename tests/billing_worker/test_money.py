"""Money moves once, and money that may have moved is never moved again."""

from decimal import Decimal
from typing import Any

import pytest

from shared.contracts.commands import (
    InvoiceCreateRequested,
    InvoiceLine,
    InvoiceVoidRequested,
    InvoiceWriteOffRequested,
    PaymentCollectRequested,
    PaymentRecordRequested,
    PaymentRefundRequested,
)
from tests.billing_worker.conftest import Upstream, until
from tests.billing_worker.scenarios import (
    a_card_payment,
    an_unpaid_invoice,
    charges,
    with_card,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def answers(upstream: Upstream, operation: str, status: int, body: dict[str, Any]) -> None:
    """Make Zoho give exactly this answer until the faults are cleared."""
    await upstream.sandbox.post(
        "faults", product="billing", operation=operation, kind="answer", status=status, body=body
    )


async def lift(upstream: Upstream, operation: str) -> None:
    """Release the held calls of this operation. Other faults stay."""
    await upstream.sandbox.fault("billing", "none", operation=operation)


async def test_a_recorded_payment_pays_its_invoice(upstream: Upstream) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    request = PaymentRecordRequested(
        user_id="u1",
        payment_id="p1",
        amount=Decimal(10),
        currency="USD",
        mode="banktransfer",
        invoice_id=invoice_id,
    )

    for _ in range(3):
        await upstream.send(request)
    paid = await upstream.event("payment.succeeded.v1", payment_id="p1")
    await upstream.send(InvoiceVoidRequested(invoice_id=invoice_id, reason="test"))

    failed = await upstream.event("command.failed.v1")
    (payment,) = await charges(upstream)
    assert payment["reference_number"] == "p1"
    assert paid["origin"] == "application"
    assert failed["code"] == "invoice_not_voidable"
    assert len(upstream.events_named("payment.succeeded.v1")) == 1


async def test_an_invoice_is_collected_once_and_refunded_once(upstream: Upstream) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)

    for _ in range(3):
        await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    paid = await upstream.event("payment.succeeded.v1", user_id="u1")
    refund = PaymentRefundRequested(
        payment_id=paid["payment_id"], refund_id="r1", amount=Decimal(4), reason="sorry"
    )
    for _ in range(3):
        await upstream.send(refund)
    await upstream.send(refund.model_copy(update={"refund_id": "r2"}))

    await upstream.zoho("billing", "payments", "refunded", lambda p: p["amount_refunded"] == 8)
    (charge,) = await charges(upstream)
    assert charge["payment_mode"] == "autotransaction"
    assert len(await upstream.records("billing", "refunds")) == 2


async def test_a_declined_card_is_a_failed_payment_and_no_failed_command(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await upstream.sandbox.decline_next(await with_card(upstream))

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))

    failed = await upstream.event("payment.failed.v1", invoice_id=invoice_id)
    notice = await upstream.event("notification.requested.v1", template="payment_failed")
    await upstream.webhooks_handled()
    assert (failed["reason"], failed["origin"]) == ("Your card was declined.", "application")
    assert notice["data"]["payment_id"] == failed["payment_id"]
    assert len(upstream.events_named("payment.failed.v1")) == 1
    assert len(upstream.events_named("notification.requested.v1")) == 1
    assert upstream.events_named("command.failed.v1") == []


@pytest.mark.parametrize(
    ("status", "zoho_code", "code"), [(404, 1002, "zoho_not_found"), (400, 9999, "zoho_rejected")]
)
async def test_a_refusal_by_zoho_is_not_a_declined_card(
    upstream: Upstream, status: int, zoho_code: int, code: str
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    body = {"code": zoho_code, "message": "no"}
    await answers(upstream, "collect_charge", status, body)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))

    assert (await upstream.event("command.failed.v1"))["code"] == code
    await upstream.settled()
    assert upstream.events_named("payment.failed.v1") == []


async def test_an_invoice_paid_otherwise_after_a_decline_is_not_announced_as_declined(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await upstream.sandbox.decline_next(await with_card(upstream))
    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    await upstream.event("payment.failed.v1", invoice_id=invoice_id)
    (invoice,) = await upstream.records("billing", "invoices")
    await upstream.send(
        PaymentRecordRequested(
            user_id="u1",
            payment_id="p1",
            amount=Decimal(str(invoice["balance"])),
            currency="USD",
            mode="cash",
            invoice_id=invoice_id,
        )
    )
    await upstream.event("payment.succeeded.v1", payment_id="p1")

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    await upstream.send(  # the last of this user, and of this queue
        PaymentRefundRequested(payment_id="p1", refund_id="r1", amount=Decimal(1), reason="x")
    )

    await upstream.event("command.failed.v1", code="refund_not_possible")
    assert len(upstream.events_named("payment.failed.v1")) == 1
    assert len(await charges(upstream)) == 1


async def test_a_charge_whose_answer_was_lost_is_found_and_not_repeated(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    await upstream.sandbox.fault("billing", "reset_after", operation="collect_charge", times=1)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))

    await upstream.event("payment.succeeded.v1", user_id="u1")
    await upstream.settled()
    assert len(await charges(upstream)) == 1


async def test_a_charge_that_may_have_happened_ends_as_unknown(upstream: Upstream) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    await upstream.sandbox.fault("billing", "hold_reset", operation="collect_charge", times=1)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    await upstream.sandbox.wait_until_held("billing", "collect_charge")
    await upstream.sandbox.clear_faults()
    failed = await upstream.event("command.failed.v1")
    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    await upstream.settled()

    assert failed["code"] == "outcome_unknown"
    assert await charges(upstream) == []


async def test_a_decline_whose_answer_was_lost_is_announced_and_the_card_not_tried_again(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await upstream.sandbox.set_targets(billing=[])  # so that no webhook announces it
    await upstream.sandbox.decline_next(await with_card(upstream))
    await upstream.sandbox.fault("billing", "reset_after", operation="collect_charge", times=1)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))

    failed = await upstream.event("payment.failed.v1", invoice_id=invoice_id)
    await upstream.settled()
    assert failed["reason"] == "Your card was declined."
    assert upstream.events_named("command.failed.v1") == []
    assert len(await upstream.records("billing", "payments")) == 1
    assert len(upstream.events_named("payment.failed.v1")) == 1


async def test_a_card_that_was_declined_is_tried_again_by_the_next_command(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await upstream.sandbox.decline_next(await with_card(upstream), times=2)

    for number in (1, 2):
        await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
        await until(lambda: failures_of(upstream, invoice_id), number)
    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))

    await upstream.event("payment.succeeded.v1", invoice_id=invoice_id)
    assert len(await charges(upstream)) == 1
    assert await failures_of(upstream, invoice_id) == 2


async def failures_of(upstream: Upstream, invoice_id: str) -> int:
    return len(upstream.events_named("payment.failed.v1", invoice_id=invoice_id))


@pytest.mark.parametrize("ahead_s", [-90.0, 90.0, -7200.0], ids=["behind", "ahead", "far behind"])
async def test_a_decline_is_recognized_though_zohos_clock_differs(
    upstream: Upstream, ahead_s: float
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await upstream.sandbox.set_targets(billing=[])  # so that no webhook announces it
    await upstream.sandbox.decline_next(await with_card(upstream))
    await upstream.sandbox.set_behaviour(clock_ahead_s=ahead_s)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))

    failed = await upstream.event("payment.failed.v1", invoice_id=invoice_id)
    await upstream.settled()
    assert failed["reason"] == "Your card was declined."
    assert upstream.events_named("command.failed.v1") == []


async def test_a_charge_that_cannot_be_looked_up_is_not_announced_as_declined(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    await answers(upstream, "list_payments", 405, {"code": 37, "message": "Not allowed."})
    await upstream.sandbox.fault("billing", "reset_before", operation="collect_charge", times=1)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    first = await upstream.event("command.failed.v1")
    await upstream.sandbox.clear_faults()
    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id), message_id="again")
    again = await upstream.event("command.failed.v1", message_id="again")

    assert [first["code"], again["code"]] == ["outcome_unknown", "outcome_unknown"]
    assert await charges(upstream) == []


async def test_an_invoice_whose_balance_zoho_leaves_out_is_not_taken_as_collected(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    (invoice,) = await upstream.records("billing", "invoices")
    del invoice["balance"]
    await answers(upstream, "retrieve_invoice", 200, {"code": 0, "invoice": invoice})
    await upstream.sandbox.fault("billing", "reset_before", operation="collect_charge", times=1)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))

    failed = await upstream.event("command.failed.v1")
    assert failed["code"] == "outcome_unknown"


async def test_a_charge_whose_card_was_taken_away_is_not_reported_as_missing(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    await upstream.sandbox.fault("billing", "hold_reset", operation="collect_charge", times=1)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    await upstream.sandbox.wait_until_held("billing", "collect_charge")
    await answers(upstream, "list_cards", 200, {"code": 0, "cards": []})
    await lift(upstream, "collect_charge")

    failed = await upstream.event("command.failed.v1")
    assert failed["code"] == "outcome_unknown"


async def test_an_earlier_decline_proves_nothing_of_a_charge_without_an_answer(
    upstream: Upstream,
) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    customer_id = await with_card(upstream)
    (invoice,) = await upstream.records("billing", "invoices")
    declined = {
        "payment_id": "460000000099999999",
        "payment_mode": "autotransaction",
        "status": "failure",
        "customer_id": customer_id,
        "amount": invoice["balance"],
        "invoices": [{"invoice_id": invoice["invoice_id"], "amount_applied": 0}],
        "date": "2020-01-01",
        "created_time": "2020-01-01T09:00:00-0800",
    }
    await upstream.sandbox.load({"billing": {"payments": [declined]}})
    await upstream.sandbox.fault("billing", "hold_reset", operation="collect_charge", times=1)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id))
    await upstream.sandbox.wait_until_held("billing", "collect_charge")
    await upstream.sandbox.clear_faults()

    await upstream.event("command.failed.v1", code="outcome_unknown")
    assert await charges(upstream) == []


async def test_a_refund_of_which_zoho_shows_nothing_is_not_repeated(upstream: Upstream) -> None:
    payment_id = await a_card_payment(upstream)
    (payment,) = await charges(upstream)
    del payment["amount_refunded"]  # a field that Zoho may leave out
    await answers(upstream, "retrieve_payment", 200, {"code": 0, "payment": payment})
    await upstream.sandbox.fault("billing", "reset_after", operation="refund_payment", times=1)

    await upstream.send(
        PaymentRefundRequested(
            payment_id=payment_id, refund_id="r1", amount=Decimal(4), reason="sorry"
        )
    )

    failed = await upstream.event("command.failed.v1")
    assert failed["code"] == "outcome_unknown"
    assert len(await upstream.records("billing", "refunds")) == 1


async def test_a_refund_that_cannot_be_looked_up_is_not_repeated(
    upstream: Upstream,
) -> None:
    payment_id = await a_card_payment(upstream)
    await upstream.sandbox.fault("billing", "timeout_after", operation="refund_payment", times=1)
    refund = PaymentRefundRequested(
        payment_id=payment_id, refund_id="r1", amount=Decimal(4), reason="sorry"
    )

    await upstream.send(refund)
    await upstream.sandbox.wait_until_held("billing", "refund_payment")
    await answers(upstream, "retrieve_payment", 405, {"code": 37, "message": "Not allowed."})
    await lift(upstream, "refund_payment")
    first = await upstream.event("command.failed.v1")
    await upstream.sandbox.clear_faults()
    await upstream.send(refund, message_id="again")
    again = await upstream.event("command.failed.v1", message_id="again")

    assert [first["code"], again["code"]] == ["outcome_unknown", "outcome_unknown"]
    assert len(await upstream.records("billing", "refunds")) == 1


async def test_only_card_payments_are_refunded(upstream: Upstream) -> None:
    await an_unpaid_invoice(upstream)
    await upstream.send(
        PaymentRecordRequested(
            user_id="u1", payment_id="p1", amount=Decimal(1), currency="USD", mode="cash"
        )
    )

    await upstream.send(
        PaymentRefundRequested(payment_id="p1", refund_id="r1", amount=Decimal(1), reason="x")
    )

    assert (await upstream.event("command.failed.v1"))["code"] == "refund_not_possible"


async def test_an_own_invoice_is_made_once_and_voided(upstream: Upstream) -> None:
    await an_unpaid_invoice(upstream)
    line = InvoiceLine(description="Work", quantity=Decimal("1.5"), rate=Decimal(20))

    for _ in range(3):
        await upstream.send(InvoiceCreateRequested(user_id="u1", invoice_id="i1", lines=(line,)))
    issued = await upstream.event("invoice.issued.v1", invoice_id="i1")
    await upstream.send(InvoiceVoidRequested(invoice_id="i1", reason="mistake"))

    changed = await upstream.event("invoice.changed.v1", invoice_id="i1")
    own = [i for i in await upstream.records("books", "invoices") if i["total"] == 30]
    assert (issued["total"], issued["origin"]) == ("30.00", "application")
    assert changed["status"] == "void"
    assert len(own) == 1


async def test_a_write_off_is_announced(upstream: Upstream) -> None:
    invoice_id = await an_unpaid_invoice(upstream)

    await upstream.send(InvoiceWriteOffRequested(invoice_id=invoice_id, reason="gone"))

    changed = await upstream.event("invoice.changed.v1", invoice_id=invoice_id)
    assert Decimal(changed["balance"]) == 0
