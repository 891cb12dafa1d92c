"""Test invoices, cards, payments and refunds, in Billing and through the integration in Books."""

from __future__ import annotations

import io
from typing import Any

import pytest
from pypdf import PdfReader

from services.zoho_sandbox.driver import SandboxDriver
from tests.kit.sandbox_client import Zoho


@pytest.fixture
async def owed(zoho: Zoho) -> dict[str, Any]:
    """Return an open invoice of 49, of a subscription that does not collect automatically."""
    customer = await zoho.new_customer()
    subscription = await zoho.subscribe(customer["customer_id"], "pro-monthly", auto_collect=False)
    return dict((await zoho.billing(f"/invoices/{subscription['child_invoice_id']}"))["invoice"])


async def collect(zoho: Zoho, invoice: dict[str, Any], card_id: str) -> Any:
    path = f"/billing/v1/invoices/{invoice['invoice_id']}/collect"
    return await zoho.ask("POST", path, json={"card_id": card_id})


async def test_collecting_answers_the_invoice_and_not_the_payment(
    zoho: Zoho, sandbox: SandboxDriver, owed: dict[str, Any]
) -> None:
    card = await sandbox.add_card(owed["customer_id"])

    answer = await collect(zoho, owed, card["card_id"])

    assert answer.status == 200
    assert "payment" not in answer.body
    assert answer.body["invoice"]["status"] == "paid"
    assert (await collect(zoho, owed, card["card_id"])).status == 400  # paid already
    assert len((await zoho.billing("/payments"))["payments"]) == 1


async def test_a_declined_card_leaves_a_failed_payment_and_the_debt(
    zoho: Zoho, sandbox: SandboxDriver, owed: dict[str, Any]
) -> None:
    card = await sandbox.add_card(owed["customer_id"])
    await sandbox.decline_next(owed["customer_id"])

    declined = await collect(zoho, owed, card["card_id"])
    again = await collect(zoho, owed, card["card_id"])

    assert (declined.status, again.status) == (400, 200)
    statuses = [row["status"] for row in (await zoho.billing("/payments"))["payments"]]
    assert statuses == ["success", "failure"]


async def test_only_a_cards_payment_can_be_refunded_and_only_once(
    zoho: Zoho, sandbox: SandboxDriver, owed: dict[str, Any]
) -> None:
    card = await sandbox.add_card(owed["customer_id"])
    await collect(zoho, owed, card["card_id"])
    [paid] = (await zoho.billing("/payments"))["payments"]
    cash = await zoho.ask(
        "POST",
        "/billing/v1/payments",
        json={"customer_id": owed["customer_id"], "payment_mode": "cash", "amount": 5},
    )

    async def refund(payment: dict[str, Any], amount: float) -> int:
        path = f"/billing/v1/payments/{payment['payment_id']}/refunds"
        return (await zoho.ask("POST", path, json={"amount": amount})).status

    assert await refund(paid, 49) == 201
    assert await refund(paid, 1) == 400
    assert await refund(cash.body["payment"], 5) == 400
    assert (await zoho.billing(f"/payments/{paid['payment_id']}"))["payment"][
        "amount_refunded"
    ] == 49
    [note] = (await zoho.books("/creditnotes"))["creditnotes"]
    [refunded] = (await zoho.books("/creditnotes/refunds"))["creditnote_refunds"]
    assert (note["total"], refunded["amount_bcy"]) == (49, 49)


async def test_an_offline_payment_is_recorded_and_applied(zoho: Zoho, owed: dict[str, Any]) -> None:
    part = {"invoice_id": owed["invoice_id"], "amount_applied": 20}
    body = {"customer_id": owed["customer_id"], "payment_mode": "cash", "amount": 25}

    answer = await zoho.ask("POST", "/billing/v1/payments", json={**body, "invoices": [part]})

    assert answer.status == 201
    invoice = (await zoho.billing(f"/invoices/{owed['invoice_id']}"))["invoice"]
    assert (invoice["status"], invoice["balance"]) == ("partially_paid", 29)
    too_much = {**part, "amount_applied": 30}
    refused = await zoho.ask("POST", "/billing/v1/payments", json={**body, "invoices": [too_much]})
    assert refused.status == 400
    [mirrored] = (await zoho.books("/customerpayments"))["customerpayments"]
    assert (mirrored["amount"], mirrored["unused_amount"]) == (25, 5)


async def test_an_invoice_is_in_books_later_under_another_id_and_the_same_number(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    await sandbox.set_lag(integration=3600)
    customer_id = (await zoho.new_customer())["customer_id"]
    first = await zoho.subscribe(customer_id, "pro-monthly")
    assert (await zoho.books("/invoices"))["invoices"] == []

    await sandbox.set_lag(integration=0)
    second = await zoho.subscribe(customer_id, "pro-monthly")

    invoice = (await zoho.billing(f"/invoices/{second['child_invoice_id']}"))["invoice"]
    found = await zoho.books(f"/invoices?invoice_number={invoice['number']}")
    [mirrored] = found["invoices"]
    assert mirrored["invoice_id"] != invoice["invoice_id"]
    assert (mirrored["total"], mirrored["email"]) == (invoice["total"], "ada@example.com")
    foreign = await zoho.ask("GET", f"/books/v3/invoices/{first['child_invoice_id']}")
    assert (foreign.status, foreign.body["code"]) == (404, 1002)


@pytest.mark.parametrize(
    ("where", "act"),
    [("billing/v1", "void"), ("books/v3", "status/void"), ("books/v3", "writeoff")],
)
async def test_what_is_done_to_an_invoice_in_one_product_shows_in_the_other(
    zoho: Zoho, owed: dict[str, Any], where: str, act: str
) -> None:
    [mirrored] = (await zoho.books("/invoices"))["invoices"]
    invoice_id = owed["invoice_id"] if where == "billing/v1" else mirrored["invoice_id"]

    assert (await zoho.ask("POST", f"/{where}/invoices/{invoice_id}/{act}")).status == 200

    in_billing = (await zoho.billing(f"/invoices/{owed['invoice_id']}"))["invoice"]
    in_books = (await zoho.books(f"/invoices/{mirrored['invoice_id']}"))["invoice"]
    status = "void" if act.endswith("void") else "paid"
    assert (in_billing["status"], in_books["status"]) == (status, status)
    assert (in_billing["balance"], in_books["balance"]) == (0, 0)


async def test_the_pdf_has_a_pay_link_that_a_plain_search_misses(
    zoho: Zoho, owed: dict[str, Any]
) -> None:
    [mirrored] = (await zoho.books("/invoices"))["invoices"]
    path = f"/books/v3/invoices/{mirrored['invoice_id']}?accept=pdf"

    answer = await zoho.ask("GET", path)

    assert answer.headers["Content-Type"] == "application/pdf"
    assert b"zoho" not in answer.body.lower()
    page = PdfReader(io.BytesIO(answer.body)).pages[0]
    assert owed["number"] in page.extract_text()
    link = page["/Annots"][0].get_object()["/A"]["/URI"]  # type: ignore[index]
    assert link.startswith("https://books.zoho.com/SecurePayment")


async def upsert(zoho: Zoho, value: str, body: dict[str, Any], *, create: str = "true") -> Any:
    headers = {
        "X-Unique-Identifier-Key": "cf_app_invoice_id",
        "X-Unique-Identifier-Value": value,
        "X-Upsert": create,
    }
    return await zoho.ask("PUT", "/books/v3/invoices", json=body, headers=headers)


async def test_an_upsert_by_a_unique_field_makes_one_invoice(zoho: Zoho) -> None:
    await zoho.new_customer()
    [contact] = (await zoho.books("/contacts?email=ada@example.com"))["contacts"]
    line = {"name": "Setup", "description": "", "rate": 10.5, "quantity": 2}
    body: dict[str, Any] = {"customer_id": contact["contact_id"], "line_items": [line]}

    missing = await upsert(zoho, "i-1", body, create="false")
    body["custom_fields"] = [{"api_name": "cf_app_invoice_id", "value": "i-1"}]
    first = await upsert(zoho, "i-1", body)
    second = await upsert(zoho, "i-1", body)
    clash = await zoho.ask("POST", "/books/v3/invoices", json=body)

    assert [missing.status, first.status, second.status] == [404, 201, 200]
    assert first.body["invoice"]["invoice_id"] == second.body["invoice"]["invoice_id"]
    assert second.body["invoice"]["total"] == 21
    assert (clash.status, clash.body["code"]) == (400, 3062)


async def test_billings_customer_id_is_not_books_contact_id(zoho: Zoho) -> None:
    customer = await zoho.new_customer()
    body = {"customer_id": customer["customer_id"], "line_items": [{"rate": 1}]}

    assert (await upsert(zoho, "i-1", body)).status == 400


async def test_books_needs_its_organization_in_the_query(zoho: Zoho) -> None:
    none = await zoho.ask("GET", "/books/v3/invoices?organization_id=")
    wrong = await zoho.ask("GET", "/books/v3/invoices?organization_id=1")
    listed = await zoho.ask("GET", "/books/v3/organizations?organization_id=")

    assert (none.status, none.body["code"]) == (400, 2)
    assert (wrong.status, wrong.body["code"]) == (401, 57)
    assert listed.body["organizations"][0]["time_zone"] == "America/Los_Angeles"


async def test_books_lists_by_inclusive_dates(zoho: Zoho, owed: dict[str, Any]) -> None:
    day = owed["invoice_date"]

    async def count(query: str) -> int:
        return len((await zoho.books(f"/invoices?{query}"))["invoices"])

    assert await count(f"date_start={day}&date_end={day}") == 1
    assert await count(f"date_before={day}") == 0
    assert await count("date_end=2001-01-01") == 0
    assert await count("start_date=2030-01-01") == 1  # no such filter: ignored


async def books_invoice(zoho: Zoho, **fields: Any) -> dict[str, Any]:
    """Create an invoice of 20 in Books, a draft unless sent."""
    await zoho.new_customer()
    [contact] = (await zoho.books("/contacts"))["contacts"]
    body = {"customer_id": contact["contact_id"], "line_items": [{"rate": 20}], **fields}
    answer = await zoho.ask("POST", "/books/v3/invoices", json=body)
    assert answer.status == 201
    return dict(answer.body["invoice"])


async def test_an_upsert_stores_only_the_fields_of_its_body(zoho: Zoho) -> None:
    await zoho.new_customer()
    [contact] = (await zoho.books("/contacts"))["contacts"]
    body = {"customer_id": contact["contact_id"], "line_items": [{"rate": 1}]}

    first = await upsert(zoho, "i-1", body)
    second = await upsert(zoho, "i-1", body)

    assert (first.status, second.status) == (201, 201)  # the headers' value was not stored
    assert first.body["invoice"]["custom_fields"] == []


async def test_payments_are_listed_without_currency_and_with_base_currency_amounts(
    zoho: Zoho,
) -> None:
    await zoho.new_customer()
    [contact] = (await zoho.books("/contacts"))["contacts"]
    body = {"customer_id": contact["contact_id"], "payment_mode": "cash", "date": "2026-01-31"}
    paid = await zoho.ask("POST", "/books/v3/customerpayments", json={**body, "amount": 50})
    path = f"/books/v3/customerpayments/{paid.body['payment']['payment_id']}"
    await zoho.ask("POST", f"{path}/refunds", json={"date": "2026-03-01", "amount": 20})

    [row] = (await zoho.books("/customerpayments"))["customerpayments"]

    assert not {"currency_code", "amount_refunded"} & row.keys()
    assert (row["bcy_amount"], row["bcy_unused_amount"], row["bcy_refunded_amount"]) == (50, 30, 20)
    payment = (await zoho.ask("GET", path)).body["payment"]
    assert (payment["currency_code"], payment["amount_refunded"]) == ("USD", 20)
    refunds = (await zoho.ask("GET", f"{path}/refunds")).body["payment_refunds"]
    assert [(refund["date"], refund["amount_fcy"]) for refund in refunds] == [("2026-03-01", 20)]


async def test_a_credit_note_is_refunded_on_the_date_of_the_refund(zoho: Zoho) -> None:
    await zoho.new_customer()
    [contact] = (await zoho.books("/contacts"))["contacts"]
    body = {"customer_id": contact["contact_id"], "date": "2026-01-31"}
    note = await zoho.ask(
        "POST", "/books/v3/creditnotes", json={**body, "line_items": [{"rate": 30}]}
    )
    path = f"/books/v3/creditnotes/{note.body['creditnote']['creditnote_id']}"

    refund = await zoho.ask("POST", f"{path}/refunds", json={"date": "2026-03-01", "amount": 30})
    again = await zoho.ask("POST", f"{path}/refunds", json={"amount": 1})

    assert (refund.status, again.status) == (201, 400)
    [listed] = (await zoho.books("/creditnotes/refunds"))["creditnote_refunds"]
    assert (listed["date"], listed["amount_fcy"]) == ("2026-03-01", 30)
    assert (await zoho.ask("GET", path)).body["creditnote"]["status"] == "closed"


@pytest.mark.parametrize("parameter", ["status=", "filter_by=Status."])
async def test_invoices_are_filtered_by_status_and_overdue_comes_with_the_due_date(
    zoho: Zoho, parameter: str
) -> None:
    late = await books_invoice(zoho, due_date="2026-01-31")
    await zoho.ask("POST", f"/books/v3/invoices/{late['invoice_id']}/status/sent")

    async def count(status: str) -> int:
        return len((await zoho.books(f"/invoices?{parameter}{status}"))["invoices"])

    assert [await count(s) for s in ("unpaid", "overdue", "sent", "draft", "paid")] == [
        1,
        1,
        0,
        0,
        0,
    ]
    read = await zoho.books(f"/invoices/{late['invoice_id']}")
    assert read["invoice"]["status"] == "overdue"


async def test_a_draft_counts_in_no_report_until_it_is_sent(zoho: Zoho) -> None:
    invoice = await books_invoice(zoho, date="2026-01-31")
    dates = "from_date=2026-01-01&to_date=2026-01-31"
    path = f"/reports/profitandloss?{dates}&filter_by=TransactionDate.CustomDate"

    async def income(query: str) -> float:
        return float((await zoho.books(query))["profit_and_loss"][0]["total"])

    as_draft = await income(path)
    await zoho.ask("POST", f"/books/v3/invoices/{invoice['invoice_id']}/status/sent")

    assert (invoice["status"], as_draft) == ("draft", 0)
    assert await income(path) == 20
    assert await income(f"/reports/profitandloss?{dates}") == 0  # no filter_by: this month's


async def test_a_credit_note_of_billing_is_in_books_until_it_is_voided_or_deleted(
    zoho: Zoho,
) -> None:
    customer_id = (await zoho.new_customer())["customer_id"]
    body = {"customer_id": customer_id, "creditnote_items": [{"price": 12.5, "quantity": 2}]}

    async def made() -> dict[str, Any]:
        answer = await zoho.ask("POST", "/billing/v1/creditnotes", json=body)
        assert answer.status == 201
        return dict(answer.body["credit_note"])

    voided, deleted = await made(), await made()
    await zoho.ask("POST", f"/billing/v1/creditnotes/{voided['creditnote_id']}/void")
    await zoho.ask("DELETE", f"/billing/v1/creditnotes/{deleted['creditnote_id']}")

    assert (voided["total"], voided["status"], voided["currency_code"]) == (25, "open", "USD")
    [copy] = (await zoho.books("/creditnotes"))["creditnotes"]
    assert (copy["creditnote_number"], copy["total"], copy["status"], copy["balance"]) == (
        voided["creditnote_number"],
        25,
        "void",
        0,
    )
    listed = (await zoho.billing("/events?sort_order=A"))["events"]
    assert [event["event_type"] for event in listed][-3:] == [
        "creditnote_added",
        "creditnote_added",
        "creditnote_deleted",
    ]
