"""Test that after a pause a cheap read finds out whether Zoho is well again, never a write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest

from services.billing_worker import app as billing_worker
from services.billing_worker.settings import Settings as BillingSettings
from services.crm_worker import app as crm_worker
from services.crm_worker.settings import Settings as CrmSettings
from services.zoho_sandbox.driver import Json
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import Seen, Watched, watched

USERS = [f"u{n}" for n in range(6)]


@pytest.fixture
async def around(database_url: str, amqp_url: str) -> AsyncIterator[Surroundings]:
    async with Surroundings(database_url, amqp_url) as surroundings:
        yield surroundings


def billing(around: Surroundings) -> AbstractAsyncContextManager[Watched]:
    return watched(
        around,
        "billing-worker",
        billing_worker.main,
        BillingSettings,
        queue="billing-worker.intake.webhooks",
        zoho_minute_calls=100_000,
        slots=1,  # so that one finds out, and the others stay in the queue
    )


async def sign_up(worker: Watched, *users: str) -> None:
    for user in users:
        body = {"user_id": user, "email": f"{user}@example.com", "full_name": f"Ada {user}"}
        await worker.stage.publish("user.signed_up.v1", body)


async def last_call(worker: Watched) -> int:
    return max((call["id"] for call in await worker.stage.sandbox.requests()), default=0)


async def trials(worker: Watched, product: str, start: int, *, found_out: int = 1) -> set[str]:
    """Return what Zoho was asked while it went on refusing, after the calls that found out."""
    refused = worker.stage.sandbox.requests
    async with asyncio.timeout(worker.stage.patience_s):
        while len(calls := await refused(product=product, since=start)) < found_out + 3:
            await worker.look()
    return {call["operation"] for call in calls[found_out:]}


def all_done(routing_key: str) -> Callable[[Seen], bool]:
    """Whether one message of each user is done."""
    done = {"routing_key": routing_key, "settlement": "done"}
    return lambda seen: seen.value("messages_settled_total", **done) >= len(USERS)


def _of(user: str) -> Callable[[Json], bool]:
    return lambda held: str(held["Note_Content"]).endswith(f"ref {user}")


async def test_billing_is_asked_for_its_plans(around: Surroundings) -> None:
    async with billing(around) as worker:
        await sign_up(worker, *USERS)
        for user in USERS:
            await worker.stage.event("customer.created.v1", user_id=user)
        start = await last_call(worker)
        await worker.stage.sandbox.fault("billing", "user_disabled")

        for user in USERS:
            paid = {"payment_id": user, "amount": "9.90", "currency": "USD", "mode": "cash"}
            await worker.stage.publish("payment.record_requested.v1", {"user_id": user, **paid})

        assert await trials(worker, "billing", start) == {"list_plans"}
        await worker.stage.sandbox.clear_faults()
        await worker.hurry_until(all_done("payment.record_requested.v1"), "six payments")
        for user in USERS:
            await worker.stage.event("payment.succeeded.v1", user_id=user)


async def test_books_is_asked_for_an_invoice(around: Surroundings) -> None:
    async with billing(around) as worker:
        start = await last_call(worker)
        await worker.stage.sandbox.fault("books", "user_disabled")

        report = {"start_date": "2026-01-01", "end_date": "2026-01-31", "basis": "cash"}
        for _ in USERS:
            await worker.stage.ask_without_waiting("report.revenue_requested.v1", report)

        assert await trials(worker, "books", start) == {"list_invoices"}


async def test_crm_is_asked_for_its_organization(around: Surroundings) -> None:
    async with watched(
        around,
        "crm-worker",
        crm_worker.main,
        CrmSettings,
        queue="crm-worker.intake.events",
        crm_flush_every_s=0.1,
        zoho_crm_user_field="App_User_Id",
        slots=1,
    ) as worker:
        await sign_up(worker, *USERS)
        for user in USERS:
            await worker.stage.event("contact.synced.v1", user_id=user)
        start = await last_call(worker)
        await worker.stage.sandbox.fault("crm", "user_disabled")

        for user in USERS:
            note = {"interaction_id": user, "title": "Asked", "content": "Why?"}
            await worker.stage.publish("interaction.recorded.v1", {"user_id": user, **note})

        # CRM says what it says of a dead token: the first is asked again with a new one.
        assert await trials(worker, "crm", start, found_out=2) == {"get_org"}
        # That was paid for once: of a trial's refusal, a token that is new is not to blame.
        mints = await worker.stage.sandbox.requests(product="accounts", operation="generate_token")
        assert len(mints) == 2
        await worker.stage.sandbox.clear_faults()
        await worker.hurry_until(all_done("interaction.recorded.v1"), "six notes")
        for user in USERS:
            await worker.stage.zoho("crm", "notes", "note", _of(user))
