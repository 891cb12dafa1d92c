"""Test webhooks: signed by Zoho's rule, retried until accepted, and lost or doubled on request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.zoho_sandbox.driver import SandboxDriver
from services.zoho_sandbox.server.webhook_delivery import signature
from tests.kit.sandbox_client import Zoho

SECRET = "ZohoTestSecret123"
BODY = b'{"created_date":"2019-03-06","event_id":"5675"}'


class Receiver:
    """Receives webhooks. Answers with `answers` one by one, then with 200."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int] = []
        self.received: list[tuple[web.Request, bytes]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.received.append((request, await request.read()))
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    @property
    def bodies(self) -> list[dict[str, object]]:
        return [orjson.loads(body) for _, body in self.received]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hooks", receiver.take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hooks"))
        yield receiver


@pytest.mark.parametrize(
    ("secret", "query", "form", "body", "expected"),
    [
        (
            SECRET, "subscription_id=90343&name=basic", [], BODY,
            "2f3b365f39b1d8036395bd4ab078e4dc80e20f7a1bc1bf667a70abe824ed83e6",
        ),
        (SECRET, "", [], BODY, "e5071fee0fbabd2c181d744a45aa8bc0108416e6014f7a1ed9b3ebf5340e6a36"),
        (
            SECRET, "", [],
            '{"event_id":"1","data":{"customer":{"display_name":"José Ñandú 株式会社"}}}'.encode(),
            "a2ea40dddf6d4d541247ca8ce07e43059996a77a50c11d5b40a77b6355c82ef8",
        ),
        (
            SECRET, "a=1&b=x%20y", [("customer_name", "Bowman Furniture"), ("amount", "100.50")],
            b"", "7c4358af2d4abd29cf6f6afa1020953705772e63f510ff07965b1773060c44f0",
        ),
        (
            "mysecretkey12", "", [], b'{"test":true}',
            "beeba5fe977923913952d4d245be79be8daaea0e1d7c2785731491518b098653",
        ),
    ],
)  # fmt: skip
def test_the_signature_is_zohos(
    secret: str, query: str, form: list[tuple[str, str]], body: bytes, expected: str
) -> None:
    assert signature(secret, f"https://example.com/hooks?{query}", form, body) == expected


async def test_an_event_is_posted_and_signed(
    zoho: Zoho, sandbox: SandboxDriver, receiver: Receiver
) -> None:
    target = f"{receiver.url}?tenant=t1"
    await sandbox.set_targets(billing={"url": target, "secret": SECRET})

    await zoho.subscribe((await zoho.new_customer())["customer_id"], "free", reference_id="s-1")

    deliveries = await sandbox.wait_until_delivered(product="billing")
    assert {one["status"] for one in deliveries} == {"success"}
    by_type = {body["event_type"]: body for body in receiver.bodies}
    event = by_type["subscription_created"]
    assert set(event) == {"event_id", "event_type", "event_time", "data"}
    subscription = event["data"]["subscription"]  # type: ignore[index]
    assert subscription["customer"]["email"] == "ada@example.com"
    for request, raw in receiver.received:
        signed = request.headers["X-Zoho-Webhook-Signature"]
        assert signed == signature(SECRET, target, [], raw)
    listed = await zoho.billing(f"/events/{event['event_id']}")
    assert [hook["status"] for hook in listed["event"]["webhooks"]] == ["success"]


async def test_the_older_form_body_is_signed_by_its_pairs(
    sandbox: SandboxDriver, receiver: Receiver
) -> None:
    await sandbox.set_targets(billing={"url": receiver.url, "secret": SECRET, "format": "form"})

    await sandbox.billing_event("card_expired", {"card": {"name": "José & Ñandú"}})

    await sandbox.wait_until_delivered()
    [(request, raw)] = receiver.received
    json_string = parse_qs(raw.decode())["JSONString"][0]
    assert orjson.loads(json_string)["event_type"] == "card_expired"
    expected = signature(SECRET, receiver.url, [("JSONString", json_string)], b"")
    assert request.headers["X-Zoho-Webhook-Signature"] == expected


async def test_a_refused_delivery_is_repeated(sandbox: SandboxDriver, receiver: Receiver) -> None:
    receiver.answers = [503]
    await sandbox.set_targets(billing={"url": receiver.url})

    await sandbox.billing_event("card_expired", {})

    [delivery] = await sandbox.wait_until_delivered()
    assert (delivery["answers"], delivery["status"]) == ([503, 200], "success")


async def test_deliveries_can_be_lost_and_doubled(
    sandbox: SandboxDriver, receiver: Receiver
) -> None:
    await sandbox.set_targets(billing={"url": receiver.url})

    await sandbox.set_delivery_faults(drop=1)
    await sandbox.billing_event("lost", {})
    await sandbox.set_delivery_faults(duplicate=1)
    await sandbox.billing_event("doubled", {})

    deliveries = await sandbox.wait_until_delivered()
    assert [one["status"] for one in deliveries] == ["dropped", "success", "success"]
    assert [body["event_type"] for body in receiver.bodies] == ["doubled", "doubled"]
    assert receiver.bodies[0] == receiver.bodies[1]


async def test_deliveries_can_come_late_and_in_another_order(
    sandbox: SandboxDriver, receiver: Receiver
) -> None:
    await sandbox.set_targets(billing={"url": receiver.url})
    await sandbox.set_delivery_faults(shuffle=True)

    await asyncio.gather(*(sandbox.billing_event("e", {"n": n}) for n in range(12)))

    await sandbox.wait_until_delivered()
    order = [body["data"]["n"] for body in receiver.bodies]  # type: ignore[index]
    assert sorted(order) == list(range(12))
    assert order != sorted(order)


async def test_books_posts_the_bare_record(
    zoho: Zoho, sandbox: SandboxDriver, receiver: Receiver
) -> None:
    await sandbox.set_targets(books={"url": receiver.url, "secret": SECRET})

    await zoho.subscribe((await zoho.new_customer())["customer_id"], "basic-monthly")

    await sandbox.wait_until_delivered(product="books")
    body = receiver.bodies[0]
    assert set(body) == {"organization_id", "invoice"}
    assert "event_type" not in body


async def test_books_posts_payments_credit_notes_and_voids(
    zoho: Zoho, sandbox: SandboxDriver, receiver: Receiver
) -> None:
    customer = await zoho.new_customer()
    await sandbox.set_targets(books={"url": receiver.url})
    subscription = await zoho.subscribe(customer["customer_id"], "basic-monthly")
    [contact] = (await zoho.books("/contacts"))["contacts"]
    owner = {"customer_id": contact["contact_id"], "date": "2026-01-31"}

    payment = {**owner, "payment_mode": "cash", "amount": 5}
    await zoho.ask("POST", "/books/v3/customerpayments", json=payment)
    note = {**owner, "line_items": [{"rate": 3}]}
    made = await zoho.ask("POST", "/books/v3/creditnotes", json=note)
    note_id = made.body["creditnote"]["creditnote_id"]
    await zoho.ask("POST", f"/books/v3/creditnotes/{note_id}/status/void")
    [invoice] = (await zoho.books("/invoices"))["invoices"]
    await zoho.ask("POST", f"/books/v3/invoices/{invoice['invoice_id']}/status/void")

    await sandbox.wait_until_delivered(product="books")
    posted = [(set(body) - {"organization_id"}, body) for body in receiver.bodies]
    assert {"payment"} in [names for names, _ in posted]
    notes = [body["creditnote"] for names, body in posted if names == {"creditnote"}]
    assert {note["status"] for note in notes} == {"open", "void"}  # type: ignore[index]
    invoices = [body["invoice"] for names, body in posted if names == {"invoice"}]
    assert "void" in [row["status"] for row in invoices]  # type: ignore[index]
    assert subscription["child_invoice_id"]


@pytest.mark.parametrize("form", [False, True])
async def test_a_workflow_target_of_billing_gets_bare_records(
    zoho: Zoho, sandbox: SandboxDriver, receiver: Receiver, *, form: bool
) -> None:
    target = {"url": receiver.url, "secret": SECRET, "mechanism": "workflow"}
    await sandbox.set_targets(billing={**target, "format": "form"} if form else target)

    await zoho.subscribe((await zoho.new_customer())["customer_id"], "basic-monthly")

    await sandbox.wait_until_delivered(product="billing")
    raw = [body.decode() for _, body in receiver.received]
    bodies = [orjson.loads(parse_qs(text)["JSONString"][0] if form else text) for text in raw]
    names = [set(body) - {"organization_id"} for body in bodies]
    assert {"customer"} in names
    assert {"subscription"} in names
    assert {"invoice"} in names
    assert not [body for body in bodies if "event_type" in body]


async def test_cards_trials_and_refunds_have_their_events(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    customer = await zoho.new_customer()
    card = await sandbox.add_card(customer["customer_id"])
    paid = await zoho.subscribe(customer["customer_id"], "pro-monthly")
    trial = await zoho.subscribe(customer["customer_id"], "free", plan={"trial_days": 14})
    [payment] = (await zoho.billing("/payments"))["payments"]

    path = f"/billing/v1/payments/{payment['payment_id']}/refunds"
    await zoho.ask("POST", path, json={"amount": 9})
    await sandbox.remind(trial["subscription_id"], "trial_expiring")
    await sandbox.remind(paid["subscription_id"], "subscription_ahead")
    await sandbox.expire_card(card["card_id"], soon=True)
    await sandbox.expire_card(card["card_id"])
    path = f"/billing/v1/customers/{customer['customer_id']}/cards/{card['card_id']}"
    await zoho.ask("DELETE", path)

    listed = (await zoho.billing("/events?sort_order=A"))["events"]
    assert [event["event_type"] for event in listed][-8:] == [
        "creditnote_added",
        "creditnote_refunded",
        "payment_refunded",
        "trial_expiring",
        "subscription_ahead",
        "card_expiring",
        "card_expired",
        "card_deleted",
    ]
