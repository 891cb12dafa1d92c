"""List the ten things that Zoho would make, or charge, twice when asked twice.

Each is for a user of its own, so that none waits in another's line.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.driving.system_driver import SystemDriver
from services.zoho_sandbox.driver import Json
from tests.kit.people import email_of, sign_up_of

BILLING, CRM, DESK = "billing-worker", "crm-worker", "desk-worker"
_LINE: Json = {"description": "Work", "quantity": "1", "rate": "20"}


@dataclass
class Create:
    """One command, what it makes, and where to see it made.

    `operation` is the sandbox's name of the call that makes it. `business_id` is its key in the
    effects journal, None for the one that is repeatable and therefore not journalled (the invoice
    in Books, which Zoho makes once for each value of our unique field).
    """

    name: str
    worker: str
    product: str
    operation: str
    routing_key: str
    business_id: str | None
    body: Json
    count: Callable[[Json], int]
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def schema(self) -> str:
        return self.worker.partition("-")[0]

    async def publish(self, stage: SystemDriver) -> None:
        await stage.publish(self.routing_key, self.body, message_id=self.message_id)


async def prepare(stage: SystemDriver) -> list[Create]:
    """All that the creates need is there already, so that each makes one thing alone."""
    tail = uuid.uuid4().hex[:8]
    signing_up, asking = f"u-{tail}", f"e-{tail}"
    async with asyncio.TaskGroup() as tasks:
        of_books = tasks.create_task(_customer_in_books(stage, f"b-{tail}"))
        of_crm = tasks.create_task(_contact(stage, f"n-{tail}"))
        of_desk = tasks.create_task(_ticket(stage, f"t-{tail}"))
        owing = tasks.create_task(_unpaid_invoice(stage, f"c-{tail}"))
        own = tasks.create_task(_own_invoice(stage, f"o-{tail}"))
        paid = tasks.create_task(_card_payment(stage, f"r-{tail}"))
        subscriber, payer = await asyncio.gather(
            _customer(stage, f"s-{tail}"), _customer(stage, f"p-{tail}")
        )
    invoiced, noted, commented = of_books.result(), of_crm.result(), of_desk.result()
    collected, refunded = owing.result(), paid.result()
    return [
        Create(
            "customer", BILLING, "billing", "create_customer", "user.signed_up.v1", signing_up,
            sign_up_of(signing_up),
            _counting("billing", "customers", lambda c: c["email"] == email_of(signing_up)),
        ),
        Create(
            "subscription", BILLING, "billing", "create_subscription",
            "subscription.requested.v1", f"sub-{tail}",
            _subscription(subscriber, f"sub-{tail}"),
            _counting(
                "billing", "subscriptions", lambda s: s.get("reference_id") == f"sub-{tail}"
            ),
        ),
        Create(
            "invoice", BILLING, "books", "update_invoice_using_custom_field",
            "invoice.create_requested.v1", None,
            {
                "user_id": invoiced,
                "invoice_id": f"inv-{tail}",
                "lines": [_LINE],
            },
            _counting(
                "books", "invoices",
                lambda i: f"inv-{tail}" in [f.get("value") for f in i["custom_fields"]],
            ),
        ),
        Create(
            "offline payment", BILLING, "billing", "create_payment",
            "payment.record_requested.v1", f"pay-{tail}",
            {
                "user_id": payer,
                "payment_id": f"pay-{tail}",
                "amount": "5",
                "currency": "USD",
                "mode": "cash",
            },
            _counting("billing", "payments", lambda p: p["reference_number"] == f"pay-{tail}"),
        ),
        Create(
            "payment in Books", BILLING, "books", "create_customer_payment",
            "payment.record_requested.v1", f"own-{tail}",
            {
                "user_id": f"o-{tail}",
                "payment_id": f"own-{tail}",
                "amount": "5",
                "currency": "USD",
                "mode": "cash",
                "invoice_id": own.result(),
            },
            _counting(
                "books", "customerpayments", lambda p: p["reference_number"] == f"own-{tail}"
            ),
        ),
        Create(
            "collect", BILLING, "billing", "collect_charge",
            "payment.collect_requested.v1", collected.invoice_id,
            {"invoice_id": collected.invoice_id},
            _counting(
                "billing", "payments",
                lambda p: p["customer_id"] == collected.customer_id and p["status"] == "success",
            ),
        ),
        Create(
            "refund", BILLING, "billing", "refund_payment",
            "payment.refund_requested.v1", f"ref-{tail}",
            {
                "payment_id": refunded,
                "refund_id": f"ref-{tail}",
                "amount": "4",
                "reason": "sorry",
            },
            _counting("billing", "refunds", lambda r: r["description"].endswith(f"ref-{tail}")),
        ),
        Create(
            "ticket", DESK, "desk", "create_ticket", "support.escalated.v1", asking,
            _escalation(asking),
            _counting("desk", "tickets", lambda t: t["subject"] == f"About {asking}"),
        ),
        Create(
            "comment", DESK, "desk", "create_comment", "support.message_added.v1",
            f"{commented} said-{tail}",
            {
                "escalation_id": commented,
                "message_id": f"said-{tail}",
                "author": "agent",
                "content": "More",
                "is_public": False,
            },
            _counting("desk", "comments", lambda c: f"said-{tail}" in c["content"]),
        ),
        Create(
            "note", CRM, "crm", "create_notes", "interaction.recorded.v1", f"note-{tail}",
            {
                "user_id": noted,
                "interaction_id": f"note-{tail}",
                "title": "Chat",
                "content": "They talked",
            },
            _counting("crm", "notes", lambda n: f"note-{tail}" in n["Note_Content"]),
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Unpaid:
    invoice_id: str
    customer_id: str


def _counting(product: str, table: str, ours: Callable[[Json], bool]) -> Callable[[Json], int]:
    return lambda state: sum(map(ours, state[product][table]))


async def _customer(stage: SystemDriver, user_id: str) -> str:
    await stage.publish("user.signed_up.v1", sign_up_of(user_id))
    await stage.event("customer.created.v1", user_id=user_id)
    return user_id


async def _customer_in_books(stage: SystemDriver, user_id: str) -> str:
    await _customer(stage, user_id)
    await stage.sandbox.wait_for_record("books", "contacts", email=email_of(user_id))
    return user_id


async def _contact(stage: SystemDriver, user_id: str) -> str:
    await stage.publish("user.signed_up.v1", sign_up_of(user_id))
    await stage.event("contact.synced.v1", user_id=user_id)
    return user_id


async def _unpaid_invoice(stage: SystemDriver, user_id: str) -> Unpaid:
    """Of somebody whose card can be charged."""
    await _customer(stage, user_id)
    await stage.publish("subscription.requested.v1", _subscription(user_id, f"sub-of-{user_id}"))
    issued = await stage.event("invoice.issued.v1", user_id=user_id)
    customer = await stage.sandbox.wait_for_record("billing", "customers", email=email_of(user_id))
    await stage.sandbox.add_card(customer["customer_id"])
    return Unpaid(issued["invoice_id"], customer["customer_id"])


async def _own_invoice(stage: SystemDriver, user_id: str) -> str:
    """Of the application's own: Billing does not know it."""
    await _customer_in_books(stage, user_id)
    body = {"user_id": user_id, "invoice_id": f"inv-of-{user_id}", "lines": [_LINE]}
    await stage.publish("invoice.create_requested.v1", body)
    return str((await stage.event("invoice.issued.v1", user_id=user_id))["invoice_id"])


async def _card_payment(stage: SystemDriver, user_id: str) -> str:
    unpaid = await _unpaid_invoice(stage, user_id)
    await stage.publish("payment.collect_requested.v1", {"invoice_id": unpaid.invoice_id})
    paid = await stage.event("payment.succeeded.v1", user_id=user_id)
    return str(paid["payment_id"])


async def _ticket(stage: SystemDriver, escalation_id: str) -> str:
    await stage.publish("support.escalated.v1", _escalation(escalation_id))
    await stage.event("ticket.created.v1", escalation_id=escalation_id)
    return escalation_id


def _subscription(user_id: str, subscription_id: str) -> Json:
    return {
        "user_id": user_id,
        "subscription_id": subscription_id,
        "plan_code": "basic-monthly",
    }


def _escalation(escalation_id: str) -> Json:
    return {
        "escalation_id": escalation_id,
        "email": email_of(escalation_id),
        "subject": f"About {escalation_id}",
        "description": "Help",
        "transcript": "user: help",
    }
