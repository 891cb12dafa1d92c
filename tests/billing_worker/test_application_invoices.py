"""Invoices that the application makes are issued in Books, then paid, voided or written off."""

from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from shared.contracts.commands import (
    InvoiceCreateRequested,
    InvoiceLine,
    InvoiceListRequested,
    InvoiceWriteOffRequested,
    PaymentCollectRequested,
    PaymentRefundRequested,
    UserUpdated,
)
from tests.billing_worker.conftest import Upstream, until
from tests.billing_worker.scenarios import ADA, a_last_message, record_cash

pytestmark = pytest.mark.asyncio(loop_scope="session")

LINE = InvoiceLine(description="Work", quantity=Decimal("1.5"), rate=Decimal(20))


def create(**more: Any) -> InvoiceCreateRequested:
    return InvoiceCreateRequested(**{"user_id": "u1", "invoice_id": "i1", "lines": (LINE,), **more})


async def a_contact(upstream: Upstream) -> None:
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")
    await upstream.zoho("books", "contacts", "mirrored", lambda _: True)


async def an_issued_invoice(upstream: Upstream) -> dict[str, Any]:
    await a_contact(upstream)
    await upstream.send(create())
    return await upstream.event("invoice.issued.v1", invoice_id="i1")


async def test_an_invoice_is_issued_and_owed(upstream: Upstream) -> None:
    issued = await an_issued_invoice(upstream)

    (in_books,) = await upstream.records("books", "invoices")
    listed = await upstream.answer_to(InvoiceListRequested(user_id="u1", status="unpaid"))
    assert issued["status"] == in_books["status"] == "sent"
    assert in_books["line_items"][0]["name"] == "Work"
    assert [row["invoice_id"] for row in listed["result"]["invoices"]] == ["i1"]


async def test_a_call_without_a_body_claims_no_content_type(upstream: Upstream) -> None:
    await an_issued_invoice(upstream)

    calls = await upstream.sandbox.requests(product="books", operation="mark_invoice_sent")
    assert "content-type" not in {name.lower() for name in calls[-1]["headers"]}


async def test_a_crash_before_it_was_marked_as_sent_leaves_no_draft_and_no_second_one(
    upstream: Upstream,
) -> None:
    await upstream.sandbox.fault("books", "status:500", operation="mark_invoice_sent", times=1)

    await an_issued_invoice(upstream)

    (in_books,) = await upstream.records("books", "invoices")
    assert in_books["status"] == "sent"
    assert len(upstream.events_named("invoice.issued.v1")) == 1


async def test_it_can_be_written_off(upstream: Upstream) -> None:
    await an_issued_invoice(upstream)

    await upstream.send(InvoiceWriteOffRequested(invoice_id="i1", reason="gone"))

    changed = await upstream.event("invoice.changed.v1", invoice_id="i1")
    assert Decimal(changed["balance"]) == 0


@pytest.mark.parametrize("fault", [None, "reset_after"])
async def test_a_recorded_payment_pays_it_once(upstream: Upstream, fault: str | None) -> None:
    await an_issued_invoice(upstream)
    if fault is not None:
        await upstream.sandbox.fault("books", fault, operation="create_customer_payment", times=1)

    await upstream.send(record_cash(amount=Decimal(30), invoice_id="i1"))

    changed = await upstream.event("invoice.changed.v1", invoice_id="i1")
    paid = await upstream.event("payment.succeeded.v1", payment_id="p1")
    (payment,) = await upstream.records("books", "customerpayments")
    assert (changed["status"], changed["balance"]) == ("paid", "0.00")
    assert paid["invoice_id"] == "i1"
    assert payment["reference_number"] == "p1"
    assert await upstream.records("billing", "payments") == []


async def test_a_payment_recorded_for_it_is_not_refunded_to_a_card(upstream: Upstream) -> None:
    await an_issued_invoice(upstream)
    await upstream.send(record_cash(amount=Decimal(30), invoice_id="i1"))
    await upstream.event("payment.succeeded.v1", payment_id="p1")

    await upstream.send(
        PaymentRefundRequested(payment_id="p1", refund_id="r1", amount=Decimal(1), reason="x")
    )

    assert (await upstream.event("command.failed.v1"))["code"] == "refund_not_possible"


async def test_no_card_is_charged_for_it(upstream: Upstream) -> None:
    await an_issued_invoice(upstream)

    await upstream.send(PaymentCollectRequested(invoice_id="i1"))

    assert (await upstream.event("command.failed.v1"))["code"] == "invoice_not_collectable"


async def test_another_currency_than_the_customers_is_refused_the_second_time_too(
    upstream: Upstream,
) -> None:
    await a_contact(upstream)

    await upstream.send(create(invoice_id="i0", currency="EUR"))
    first = await upstream.event("command.failed.v1")
    await upstream.send(create(currency="USD"))
    await upstream.event("invoice.issued.v1", invoice_id="i1")
    await upstream.send(create(invoice_id="i2", currency="EUR"), message_id="again")
    again = await upstream.event("command.failed.v1", message_id="again")

    assert [first["code"], again["code"]] == ["currency_mismatch", "currency_mismatch"]
    assert len(await upstream.records("books", "invoices")) == 1


async def test_users_who_share_an_email_have_their_own_invoices(upstream: Upstream) -> None:
    for user_id, name in (("u1", "Ada Fairweather"), ("u2", "Grace Sundown")):
        await upstream.send(
            ADA.model_copy(
                update={"user_id": user_id, "email": "office@example.com", "full_name": name}
            )
        )
        await upstream.event("customer.created.v1", user_id=user_id)
    contacts = await upstream.records("books", "contacts")

    for user_id in ("u1", "u2"):
        await upstream.send(create(user_id=user_id, invoice_id=f"{user_id}-invoice"))
        await upstream.event("invoice.issued.v1", user_id=user_id)

    names = {contact["contact_id"]: contact["contact_name"] for contact in contacts}
    owners = {
        row["custom_fields"][0]["value"]: names[row["customer_id"]]
        for row in await upstream.records("books", "invoices")
    }
    assert owners == {"u1-invoice": "Ada Fairweather", "u2-invoice": "Grace Sundown"}
    for user_id in ("u1", "u2"):
        listed = await upstream.answer_to(InvoiceListRequested(user_id=user_id))
        ids = [row["invoice_id"] for row in listed["result"]["invoices"]]
        assert ids == [f"{user_id}-invoice"]


async def test_an_invoice_that_waits_for_its_contact_holds_up_no_later_command(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "services.billing_worker.handlers.application_invoices._CONTACT_RETRY_S"
    monkeypatch.setattr(path, 1.0)
    await upstream.sandbox.set_lag(integration=3600)
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")

    await upstream.send(create())
    await upstream.send(UserUpdated(user_id="u1", phone="+999"))
    await upstream.zoho("billing", "customers", "updated", lambda c: c["phone"] == "+999")
    await upstream.sandbox.set_lag(integration=0)
    await upstream.send(UserUpdated(user_id="u1", phone="+998"))  # brings the contact to Books

    await upstream.event("invoice.issued.v1", invoice_id="i1")
    await a_last_message(upstream)
    assert upstream.events_named("command.failed.v1") == []


async def test_an_invoice_whose_contact_never_comes_ends_under_its_own_code(
    upstream: Upstream, own_database_url: str
) -> None:
    await upstream.sandbox.set_lag(integration=3600)
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")
    await upstream.send(create())
    connection = await asyncpg.connect(own_database_url)

    async def looks() -> int:
        return int(
            await connection.fetchval("SELECT count(*) FROM billing.inbox WHERE state = 'look'")
        )

    await until(looks, 1)
    # As if it had waited for all the time that it may.
    await connection.execute(
        "UPDATE billing.inbox SET counted_s = end_s, due_at = now() WHERE state = 'look'"
    )
    await connection.close()

    await upstream.event("command.failed.v1", code="no_books_contact")
    await upstream.sandbox.set_lag(integration=0)
