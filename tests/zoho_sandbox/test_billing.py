"""Test Billing: customers, lists that lag and ignore filters, subscriptions from start to end."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any

import pytest

from services.zoho_sandbox.driver import SandboxDriver
from tests.kit.sandbox_client import Zoho

FIELD = {"label": "App User Id", "value": "u1"}


async def events(zoho: Zoho) -> list[str]:
    """Return the types of all events, oldest first."""
    listed = await zoho.billing("/events?sort_order=A")
    return [event["event_type"] for event in listed["events"]]


async def test_a_customer_has_zohos_ids_times_and_envelope(zoho: Zoho) -> None:
    body = {"display_name": "José Ñandú", "email": "jose@example.com", "custom_fields": [FIELD]}
    answer = await zoho.ask("POST", "/billing/v1/customers", json=body)

    assert answer.status == 201
    assert answer.body["code"] == 0
    customer = answer.body["customer"]
    assert re.fullmatch(r"\d{18,19}", customer["customer_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", customer["created_time"])
    assert customer["custom_fields"][0]["api_name"] == "cf_app_user_id"
    assert (await zoho.billing(f"/customers/{customer['customer_id']}"))["customer"] == customer


async def test_nothing_about_a_customer_is_unique(zoho: Zoho) -> None:
    first, second = await zoho.new_customer(), await zoho.new_customer()

    assert first["customer_id"] != second["customer_id"]
    assert len((await zoho.billing("/customers?email=ADA@example.com"))["customers"]) == 2


async def test_an_unknown_filter_is_ignored_and_the_whole_list_comes_back(zoho: Zoho) -> None:
    await zoho.new_customer()
    await zoho.new_customer(email="other@example.com")

    listed = await zoho.billing("/customers?reference_id=u1")

    assert len(listed["customers"]) == 2
    assert listed["page_context"]["has_more_page"] is False


async def test_filters_by_email_work_until_the_organization_does_not_know_them(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    await zoho.new_customer()
    await zoho.new_customer(email="other@example.com")
    paths = ("/customers?email=other@example.com", "/customers?email_contains=OTHER")

    known = [len((await zoho.billing(path))["customers"]) for path in paths]
    await sandbox.set_behaviour(ignored_filters={"billing": ["email", "email_contains"]})
    ignored = [len((await zoho.billing(path))["customers"]) for path in paths]

    assert (known, ignored) == ([1, 1], [2, 2])


async def test_lists_are_paged_newest_first_without_custom_fields(zoho: Zoho) -> None:
    for n in range(3):
        await zoho.new_customer(email=f"{n}@example.com", custom_fields=[FIELD])

    first = await zoho.billing("/customers?per_page=2")
    second = await zoho.billing("/customers?per_page=2&page=2")

    emails = [row["email"] for row in (*first["customers"], *second["customers"])]
    assert emails == ["2@example.com", "1@example.com", "0@example.com"]
    assert first["page_context"]["has_more_page"] is True
    assert "custom_fields" not in first["customers"][0]
    found = await zoho.billing("/customers?filter_by=cf_app_user_id.Equals(u1)")
    assert len(found["customers"]) == 3


async def test_a_search_lags_behind_a_read(zoho: Zoho, sandbox: SandboxDriver) -> None:
    await sandbox.set_lag(billing=3600)
    customer = await zoho.new_customer()

    assert (await zoho.billing("/customers?email=ada@example.com"))["customers"] == []
    assert (await zoho.billing(f"/customers/{customer['customer_id']}"))["code"] == 0

    await sandbox.set_lag(billing=0)
    assert len((await zoho.billing("/customers?email=ada@example.com"))["customers"]) == 1


@pytest.mark.parametrize(
    ("method", "path", "sent", "status", "code"),
    [
        ("POST", "/customers", {"data": "display_name=Ada"}, 400, 1038),
        ("POST", "/customers", {"json": {"email": "a@example.com"}}, 400, 4),
        ("POST", "/customers", {"json": {"display_name": "A", "email": "a" * 101}}, 400, 15),
        ("GET", "/customers/460000000000000000", {}, 404, 1002),
        ("GET", "/nothing", {}, 404, 5),
        ("PATCH", "/customers", {}, 405, 37),
        ("POST", "/subscriptions", {"json": {"plan": {"plan_code": "none"}}}, 400, 2),
        ("POST", "/subscriptions", {"json": {"plan": {"plan_code": "free"}}}, 400, 2),
        ("POST", "/payments", {"json": {"customer_id": "1", "amount": []}}, 404, 1002),
        (
            "POST",
            "/customers",
            {"json": {"display_name": "A", "email": "a", "custom_fields": 1}},
            400,
            2,
        ),
        ("GET", "/subscriptions/460000000000000000", {}, 404, 1002),
        ("GET", "/invoices/460000000000000000", {}, 404, 1002),
    ],
)
async def test_refusals_have_billings_codes(
    zoho: Zoho, method: str, path: str, sent: dict[str, Any], status: int, code: int
) -> None:
    answer = await zoho.ask(method, f"/billing/v1{path}", **sent)

    assert (answer.status, answer.body["code"]) == (status, code)


async def test_a_wrong_organization_is_refused_and_none_means_the_default(zoho: Zoho) -> None:
    named = {"X-com-zoho-subscriptions-organizationid": "999"}

    wrong = await zoho.ask("GET", "/billing/v1/plans", headers=named)

    assert (wrong.status, wrong.body["code"]) == (401, 57)
    assert (await zoho.ask("GET", "/billing/v1/plans")).status == 200


async def test_a_trial_is_taken_from_the_plan_and_makes_no_invoice(zoho: Zoho) -> None:
    customer = await zoho.new_customer()

    trial = await zoho.subscribe(
        customer["customer_id"], "pro-monthly", plan={"trial_days": 14}, reference_id="s-1"
    )
    top_level = await zoho.subscribe(customer["customer_id"], "pro-monthly", trial_days=14)

    assert (trial["status"], trial["child_invoice_id"]) == ("trial", "")
    assert trial["customer"]["email"] == "ada@example.com"
    assert top_level["status"] == "live"  # there is no such field


async def test_a_paid_start_bills_the_stored_card(zoho: Zoho, sandbox: SandboxDriver) -> None:
    customer = await zoho.new_customer()
    await sandbox.add_card(customer["customer_id"])

    subscription = await zoho.subscribe(
        customer["customer_id"], "basic-monthly", auto_collect=True, coupon_code="WELCOME10"
    )

    assert subscription["status"] == "live"
    assert "invoice" not in subscription
    invoice = (await zoho.billing(f"/invoices/{subscription['child_invoice_id']}"))["invoice"]
    assert (invoice["status"], invoice["total"], invoice["balance"]) == ("paid", 17.1, 0)
    assert invoice["invoice_url"].startswith("https://zohosecurepay.com/")
    assert await events(zoho) == [
        "invoice_created",
        "payment_thankyou",
        "subscription_created",
        "subscription_activation",
    ]


async def test_without_a_card_a_subscription_cannot_collect_automatically(zoho: Zoho) -> None:
    customer = await zoho.new_customer()
    body = {
        "customer_id": customer["customer_id"],
        "plan": {"plan_code": "basic-monthly"},
        "auto_collect": True,
    }

    answer = await zoho.ask("POST", "/billing/v1/subscriptions", json=body)

    assert answer.status == 400
    offline = await zoho.subscribe(customer["customer_id"], "basic-monthly", auto_collect=False)
    invoice = (await zoho.billing(f"/invoices/{offline['child_invoice_id']}"))["invoice"]
    assert (offline["status"], invoice["status"]) == ("live", "sent")


async def test_a_declined_first_charge_leaves_a_failed_creation(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    customer_id = (await zoho.new_customer())["customer_id"]
    await sandbox.add_card(customer_id)
    await sandbox.decline_next(customer_id)
    body = {"customer_id": customer_id, "plan": {"plan_code": "basic-monthly"}}

    answer = await zoho.ask("POST", "/billing/v1/subscriptions", json=body)

    assert answer.status == 400
    [left] = await sandbox.records("billing", "subscriptions")
    assert left["status"] == "creation_failed"


async def test_a_reference_is_found_as_a_substring_and_listed_without_its_plan(zoho: Zoho) -> None:
    customer = await zoho.new_customer()
    for reference in ("s-1", "s-10", "other"):
        await zoho.subscribe(customer["customer_id"], "free", reference_id=reference)

    found = (await zoho.billing("/subscriptions?reference_contains=s-1"))["subscriptions"]

    assert {row["reference_id"] for row in found} == {"s-1", "s-10"}
    assert "plan" not in found[0]


async def test_a_start_in_the_future_waits(zoho: Zoho, sandbox: SandboxDriver) -> None:
    customer = await zoho.new_customer()
    starts_at = (date.today() + timedelta(days=30)).isoformat()  # noqa: DTZ011  (any later day)

    waiting = await zoho.subscribe(customer["customer_id"], "pro-monthly", starts_at=starts_at)

    assert (waiting["status"], waiting["child_invoice_id"]) == ("future", "")
    begun = await sandbox.renew(waiting["subscription_id"])
    assert (begun["status"], begun["current_term_starts_at"]) == ("live", starts_at)


async def test_a_renewal_starts_the_next_term_and_bills_it(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    customer = await zoho.new_customer()
    await sandbox.add_card(customer["customer_id"])
    before = await zoho.subscribe(customer["customer_id"], "pro-monthly")

    after = await sandbox.renew(before["subscription_id"])

    assert after["current_term_starts_at"] == before["current_term_ends_at"]
    assert after["child_invoice_id"] != before["child_invoice_id"]
    assert (await events(zoho))[-3:] == [
        "invoice_created",
        "payment_thankyou",
        "subscription_renewed",
    ]


@pytest.mark.parametrize(("card", "status"), [(True, "dunning"), (False, "unpaid")])
async def test_a_failed_payment_puts_the_subscription_past_due(
    zoho: Zoho, sandbox: SandboxDriver, card: bool, status: str
) -> None:
    customer = await zoho.new_customer()
    if card:
        await sandbox.add_card(customer["customer_id"])
    subscription = await zoho.subscribe(customer["customer_id"], "pro-monthly")

    failed = await sandbox.fail_payment(subscription["subscription_id"])

    assert failed["status"] == status
    assert "payment_declined" in await events(zoho)
    newest = (await zoho.billing("/payments"))["payments"][0]
    assert newest["status"] == "failure"
    assert newest["autotransaction"]["gateway_error_message"]


async def test_cancelling_at_term_end_can_be_taken_back_and_at_once_cannot(zoho: Zoho) -> None:
    subscription = await zoho.subscribe((await zoho.new_customer())["customer_id"], "free")
    path = f"/billing/v1/subscriptions/{subscription['subscription_id']}"

    ending = await zoho.ask("POST", f"{path}/cancel?cancel_at_end=true")
    back = await zoho.ask("POST", f"{path}/reactivate")
    ended = await zoho.ask("POST", f"{path}/cancel?cancel_at_end=false")

    statuses = [answer.body["subscription"]["status"] for answer in (ending, back, ended)]
    assert statuses == ["non_renewing", "live", "cancelled"]
    assert (await zoho.ask("POST", f"{path}/reactivate")).status == 400
    assert (await zoho.ask("POST", f"{path}/cancel")).status == 400


async def test_a_subscription_ends_with_its_term_its_trial_or_its_cycles(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    customer_id = (await zoho.new_customer())["customer_id"]
    term = await zoho.subscribe(customer_id, "pro-monthly")
    trial = await zoho.subscribe(customer_id, "pro-monthly", plan={"trial_days": 7})
    cycles = await zoho.subscribe(customer_id, "pro-monthly")

    await sandbox.cancel(term["subscription_id"], at_term_end=True)

    assert (await sandbox.renew(term["subscription_id"]))["status"] == "cancelled"
    assert (await sandbox.expire(trial["subscription_id"]))["status"] == "trial_expired"
    assert (await sandbox.expire(cycles["subscription_id"]))["status"] == "expired"


async def test_a_change_of_plan_happens_now_or_with_the_next_term(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    customer_id = (await zoho.new_customer())["customer_id"]
    subscription = await zoho.subscribe(customer_id, "basic-monthly")
    path = f"/billing/v1/subscriptions/{subscription['subscription_id']}"

    later = await zoho.ask(
        "PUT", path, json={"plan": {"plan_code": "pro-monthly"}, "end_of_term": True}
    )
    assert later.body["subscription"]["plan"]["plan_code"] == "basic-monthly"
    renewed = await sandbox.renew(subscription["subscription_id"])
    assert renewed["plan"]["plan_code"] == "pro-monthly"

    now = await zoho.ask("PUT", path, json={"plan": {"plan_code": "pro-yearly"}})
    assert now.body["subscription"]["interval_unit"] == "years"
    assert (await zoho.ask("PUT", path, json={"reference_id": "x"})).status == 400
    assert (await events(zoho))[-1] == "subscription_upgraded"


async def test_the_event_log_lists_briefly_and_shows_one_event_in_full(zoho: Zoho) -> None:
    await zoho.subscribe((await zoho.new_customer())["customer_id"], "free", reference_id="s-1")

    [brief] = (await zoho.billing("/events"))["events"][-1:]
    full = (await zoho.billing(f"/events/{brief['event_id']}"))["event"]

    assert set(brief) == {"event_id", "event_type", "event_time"}
    assert isinstance(full["payload"], str)
    assert '"reference_id":"s-1"' in full["payload"]
    assert full["webhooks"] == []


async def test_a_coupon_is_read_by_its_code_and_reduces_the_first_term(zoho: Zoho) -> None:
    body = {"coupon_code": "FIVE", "name": "Five off", "discount_by": "flat", "discount_value": 5}
    made = await zoho.ask("POST", "/billing/v1/coupons", json={**body, "max_redemption": 1})
    customer_id = (await zoho.new_customer())["customer_id"]

    subscription = await zoho.subscribe(customer_id, "basic-monthly", coupon_code="FIVE")

    assert made.status == 201
    assert subscription["coupon"] == {"coupon_code": "FIVE", "discount_amount": 5}
    invoice = await zoho.billing(f"/invoices/{subscription['child_invoice_id']}")
    assert invoice["invoice"]["total"] == 14
    coupon = (await zoho.billing("/coupons/FIVE"))["coupon"]
    assert (coupon["redemption_count"], coupon["status"]) == (1, "active")
    used_up = {"customer_id": customer_id, "plan": {"plan_code": "basic-monthly"}}
    refused = await zoho.ask(
        "POST", "/billing/v1/subscriptions", json={**used_up, "coupon_code": "FIVE"}
    )
    unknown = await zoho.ask("GET", "/billing/v1/coupons/NONE")
    assert (refused.status, unknown.status, unknown.body["code"]) == (400, 404, 1002)


async def test_a_coupon_is_put_on_a_subscription_and_taken_off(zoho: Zoho) -> None:
    subscription = await zoho.subscribe((await zoho.new_customer())["customer_id"], "pro-monthly")
    path = f"/subscriptions/{subscription['subscription_id']}"

    added = await zoho.ask("POST", f"/billing/v1{path}/coupons/WELCOME10")
    coupon = (await zoho.billing(path))["subscription"]["coupon"]
    removed = await zoho.ask("DELETE", f"/billing/v1{path}/coupons")

    assert (added.status, removed.status) == (200, 200)
    assert coupon == {"coupon_code": "WELCOME10", "discount_amount": 4.9}
    assert (await zoho.billing(path))["subscription"]["coupon"] == {}


async def test_recurring_addons_are_in_every_term_and_one_time_addons_in_one(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    addons = [{"addon_code": "extra-seat", "quantity": 2}, {"addon_code": "onboarding"}]
    customer_id = (await zoho.new_customer())["customer_id"]

    subscription = await zoho.subscribe(customer_id, "basic-monthly", addons=addons)
    await sandbox.renew(subscription["subscription_id"])

    assert [addon["addon_code"] for addon in subscription["addons"]] == ["extra-seat"]
    assert subscription["amount"] == 29
    invoices = (await zoho.billing("/invoices?sort_order=A"))["invoices"]
    assert [invoice["total"] for invoice in invoices] == [59, 29]


async def test_a_one_time_addon_is_bought_with_an_invoice_of_its_own(zoho: Zoho) -> None:
    subscription = await zoho.subscribe((await zoho.new_customer())["customer_id"], "free")
    path = f"/billing/v1/subscriptions/{subscription['subscription_id']}/buyonetimeaddon"

    bought = await zoho.ask("POST", path, json={"addons": [{"addon_code": "onboarding"}]})
    recurring = await zoho.ask("POST", path, json={"addons": [{"addon_code": "extra-seat"}]})

    assert (bought.status, recurring.status) == (200, 400)
    assert bought.body["invoice"]["total"] == 30
    listed = (await zoho.billing("/addons?filter_by=AddonStatus.ONETIME"))["addons"]
    assert [addon["addon_code"] for addon in listed] == ["onboarding"]


async def test_a_deleted_subscription_is_gone_and_its_invoice_stays(zoho: Zoho) -> None:
    customer_id = (await zoho.new_customer())["customer_id"]
    subscription = await zoho.subscribe(customer_id, "pro-monthly")
    path = f"/billing/v1/subscriptions/{subscription['subscription_id']}"

    deleted = await zoho.ask("DELETE", path)

    assert (deleted.status, (await zoho.ask("GET", path)).status) == (200, 404)
    assert len((await zoho.billing("/invoices"))["invoices"]) == 1
    assert (await events(zoho))[-1] == "subscription_deleted"


async def test_answers_have_zohos_content_type_and_paths_may_end_in_a_slash(zoho: Zoho) -> None:
    for path in ("/billing/v1/plans/", "/books/v3/invoices/", "/billing/v1/plans"):
        answer = await zoho.ask("GET", path)

        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
