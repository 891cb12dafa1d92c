"""Test that the public documentation says of each command which calls to Zoho it makes."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from shared.contracts import commands as contracts
from shared.contracts.asyncapi import document
from tests.kit.people import sign_up_of
from tests.kit.scrape import Settlements

USER, SUBSCRIPTION, INVOICE, ESCALATION = "u-doc", "s-doc", "i-doc", "e-doc"
LINE = {"description": "Hours", "quantity": 1, "rate": "10.00"}
YEAR = {"start_date": "2026-01-01", "end_date": "2026-12-31"}
# What each worker does, in its order, and one after another where one needs the other.
COMMANDS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "billing-worker": [
        ("user.signed_up.v1", sign_up_of(USER)),
        ("user.updated.v1", {"user_id": USER, "phone": "+49 30 111111"}),
        (
            "subscription.requested.v1",
            {"user_id": USER, "subscription_id": SUBSCRIPTION, "plan_code": "basic-monthly"},
        ),
        (
            "subscription.change_requested.v1",
            {"subscription_id": SUBSCRIPTION, "plan_code": "pro-monthly"},
        ),
        ("subscription.cancel_requested.v1", {"subscription_id": SUBSCRIPTION}),
        ("subscription.reactivate_requested.v1", {"subscription_id": SUBSCRIPTION}),
        (
            "payment.record_requested.v1",
            {
                "user_id": USER,
                "payment_id": "p-doc",
                "amount": "10.00",
                "currency": "USD",
                "mode": "cash",
            },
        ),
        (
            "invoice.create_requested.v1",
            {"user_id": USER, "invoice_id": INVOICE, "lines": [LINE]},
        ),
        ("invoice.void_requested.v1", {"invoice_id": INVOICE, "reason": "a test"}),
    ],
    "crm-worker": [
        (
            "interaction.recorded.v1",
            {"user_id": USER, "interaction_id": "n-doc", "title": "Call", "content": "Hello"},
        ),
    ],
    "desk-worker": [
        (
            "support.escalated.v1",
            {
                "escalation_id": ESCALATION,
                "email": "doc@example.com",
                "subject": "About the documents",
                "description": "Help",
                "transcript": "user: help",
            },
        ),
        (
            "support.message_added.v1",
            {
                "escalation_id": ESCALATION,
                "message_id": "m-doc",
                "author": "agent",
                "content": "Hello",
                "is_public": False,
            },
        ),
        ("support.priority_raised.v1", {"escalation_id": ESCALATION, "priority": "High"}),
        ("support.close_requested.v1", {"escalation_id": ESCALATION, "resolution": "Done"}),
    ],
}
READS: list[tuple[str, dict[str, Any]]] = [
    ("invoice.list_requested.v1", {"user_id": USER}),
    ("invoice.requested.v1", {"invoice_id": INVOICE, "format": "pdf"}),
    ("report.revenue_requested.v1", {**YEAR, "basis": "accrual"}),
    ("report.receivables_requested.v1", {}),
    ("report.summary_requested.v1", YEAR),
]


# They need more than their message: a card, a payment by card, another invoice, a user to forget.
NOT_SENT = {
    "payment.collect_requested.v1",
    "payment.refund_requested.v1",
    "invoice.write_off_requested.v1",
    "user.erasure_requested.v1",
}


def test_every_command_is_sent_here_or_needs_more() -> None:
    sent = {key for commands in (*COMMANDS.values(), READS) for key, _ in commands}

    assert sent | NOT_SENT == set(contracts.COMMANDS), "add it to COMMANDS or READS above"


async def test_every_call_that_a_command_makes_is_documented(
    stack: Stack, stage: SystemDriver
) -> None:
    settlements = Settlements(stack, *COMMANDS)
    key_of: dict[str, str] = {}
    for worker, commands in COMMANDS.items():
        for key, body in commands:
            message_id = f"documented {key}"
            key_of[message_id] = key
            await stage.publish(key, body, message_id=message_id)
            await settlements.until(worker, key, "done")
            if key == "user.signed_up.v1":
                await stage.event("contact.synced.v1", user_id=USER)
    for key, body in READS:
        message_id = await stage.ask_without_waiting(key, body)
        key_of[message_id] = key
        await settlements.until("billing-worker", key, "done")

    documented = {
        operation["channel"]["$ref"].rpartition("/")[2]: operation.get("x-zoho-calls", {})
        for operation in document()["operations"].values()
    }
    made = await _calls(Path(stack.env["LOG_DIR"]), key_of)
    undocumented = {
        (key, product, operation)
        for key, calls in made.items()
        for product, operation in calls
        if operation not in documented[key].get(product, ())
    }
    assert undocumented == set()
    # Users' contacts are sent for many commands at once, and are nobody's call.
    assert set(made) == set(key_of.values())


async def _calls(folder: Path, key_of: dict[str, str]) -> dict[str, set[tuple[str, str]]]:
    """Return the calls in the logs, by the command that made them."""
    made: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for line in await asyncio.to_thread(lambda: list(_lines(folder))):
        key = key_of.get(line.get("correlation_id", ""))
        if key is not None and line.get("event") == "zoho called":
            made[key].add((line["product"], line["operation"]))
    return made


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("*-worker.*.log")):
        for text in file.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(text)
            except ValueError:
                continue
