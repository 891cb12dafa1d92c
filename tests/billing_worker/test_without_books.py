"""An organization without Books: invoices, payments and reports from Billing alone."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.driving.system_driver import SystemDriver
from services.billing_worker import app
from services.billing_worker.settings import Settings
from tests.kit.surroundings import Surroundings


@pytest.fixture
async def stage(database_url: str, amqp_url: str) -> AsyncIterator[SystemDriver]:
    async with Surroundings(database_url, amqp_url) as around:
        settings = Settings(
            **around.environment,
            zoho_has_books=False,
            zoho_time_zone="Asia/Tokyo",
            zoho_minute_calls=100_000,
        )
        queue = "billing-worker.intake.commands"
        async with around.running(app.main, settings, queue=queue) as opened:
            yield opened
            assert await opened.sandbox.requests(product="books") == [], "Books was called"


async def collected(stage: SystemDriver) -> tuple[str, str]:
    """Ada's invoice over 19.00, paid by card. Returns our ids of the invoice and the payment."""
    ada = {"user_id": "u1", "email": "ada@example.com", "full_name": "Ada Fairweather"}
    await stage.publish("user.signed_up.v1", ada)
    wanted = {"user_id": "u1", "subscription_id": "s1", "plan_code": "basic-monthly"}
    await stage.publish("subscription.requested.v1", wanted)
    await stage.event("subscription.changed.v1", subscription_id="s1")
    (subscription,) = await stage.sandbox.records("billing", "subscriptions")
    # The gateway is not here: the invoice is heard of by the subscription.
    assert subscription["child_invoice_id"]
    issued = await stage.event("invoice.issued.v1", subscription_id="s1")
    assert (issued["total"], issued["currency"]) == ("19.00", "USD")
    customer = await stage.sandbox.wait_for_record("billing", "customers", email=ada["email"])
    await stage.sandbox.add_card(customer["customer_id"])
    invoice_id = str(issued["invoice_id"])
    await stage.publish("payment.collect_requested.v1", {"invoice_id": invoice_id})
    paid = await stage.event("payment.succeeded.v1", invoice_id=invoice_id)
    return invoice_id, str(paid["payment_id"])


async def test_invoices_are_announced_listed_and_shown(stage: SystemDriver) -> None:
    invoice_id, _ = await collected(stage)

    listed = await stage.ask("invoice.list_requested.v1", {"user_id": "u1", "status": "paid"})
    shown = await stage.ask("invoice.requested.v1", {"invoice_id": invoice_id, "format": "json"})
    pdf = await stage.ask("invoice.requested.v1", {"invoice_id": invoice_id, "format": "pdf"})

    (row,) = listed["result"]["invoices"]
    (line,) = shown["result"]["lines"]
    assert (row["invoice_id"], row["total"], row["balance"]) == (invoice_id, "19.00", "0.00")
    assert (shown["result"]["number"], line["total"]) == (row["number"], "19.00")
    assert pdf["ok"], pdf


async def test_reports_count_what_billing_lists(stage: SystemDriver) -> None:
    _, payment_id = await collected(stage)
    refund = {"payment_id": payment_id, "refund_id": "r1", "amount": "4", "reason": "sorry"}
    await stage.publish("payment.refund_requested.v1", refund)
    await stage.sandbox.wait_for_record("billing", "payments", amount_refunded=4)

    # Days are those of the configured time zone, and of the sandbox's records.
    year = datetime.now(UTC).year
    days = {"start_date": f"{year - 1}-01-01", "end_date": f"{year + 1}-12-31"}
    accrual = await stage.ask("report.revenue_requested.v1", {**days, "basis": "accrual"})
    cash = await stage.ask("report.revenue_requested.v1", {**days, "basis": "cash"})
    summary = await stage.ask("report.summary_requested.v1", days)
    owed = await stage.ask("report.receivables_requested.v1", {})

    assert revenue_in(accrual) == {"USD": "15.00"}
    assert revenue_in(cash) == {"USD": "15.00"}
    assert accrual["result"]["time_zone"] == "Asia/Tokyo"
    (row,) = summary["result"]["summary"]
    assert (row["invoiced"], row["collected"]) == ("19.00", "19.00")
    assert (row["credited"], row["refunded"]) == ("4.00", "4.00")
    assert owed["result"]["receivables"] == []


async def test_an_invoice_is_written_off_in_billing(stage: SystemDriver) -> None:
    wanted = {"user_id": "u1", "subscription_id": "s1", "plan_code": "basic-monthly"}
    await stage.publish("subscription.requested.v1", {**wanted, "email": "ada@example.com"})
    issued = await stage.event("invoice.issued.v1", subscription_id="s1")

    gone = {"invoice_id": issued["invoice_id"], "reason": "gone"}
    await stage.publish("invoice.write_off_requested.v1", gone)

    changed = await stage.event("invoice.changed.v1", invoice_id=issued["invoice_id"])
    (invoice,) = await stage.sandbox.records("billing", "invoices")
    assert (changed["balance"], invoice["write_off_amount"]) == ("0.00", 19)


async def test_an_invoice_is_voided_in_billing_and_none_is_created(stage: SystemDriver) -> None:
    wanted = {"user_id": "u1", "subscription_id": "s1", "plan_code": "basic-monthly"}
    await stage.publish("subscription.requested.v1", {**wanted, "email": "ada@example.com"})
    issued = await stage.event("invoice.issued.v1", subscription_id="s1")

    void = {"invoice_id": issued["invoice_id"], "reason": "mistake"}
    await stage.publish("invoice.void_requested.v1", void)
    lines = [{"description": "Work", "quantity": "1", "rate": "20"}]
    own = {"user_id": "u1", "invoice_id": "i1", "lines": lines}
    await stage.publish("invoice.create_requested.v1", own)

    changed = await stage.event("invoice.changed.v1", invoice_id=issued["invoice_id"])
    failed = await stage.event("command.failed.v1")
    (invoice,) = await stage.sandbox.records("billing", "invoices")
    assert (changed["status"], invoice["status"]) == ("void", "void")
    assert failed["code"] == "no_books"


def revenue_in(answer: dict[str, Any]) -> dict[str, str]:
    assert answer["ok"], answer
    return {row["currency"]: row["total"] for row in answer["result"]["revenue"]}
