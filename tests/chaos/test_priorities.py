"""Whoever waits for quota, payments and cancellations go first, and so does what they wait for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.billing_worker import app as billing_worker
from services.billing_worker.settings import Settings
from tests.kit.people import email_of, sign_up_of
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import Watched, watched

CALLS_A_MINUTE = 40
FOR_COMMANDS = 32  # their share. The rest is kept for payments and cancellations


@asynccontextmanager
async def billing(around: Surroundings) -> AsyncIterator[Watched]:
    async with watched(
        around,
        "billing-worker",
        billing_worker.main,
        Settings,
        queue="billing-worker.intake.commands",
        zoho_billing_calls_a_minute=CALLS_A_MINUTE,
        zoho_billing_user_field="cf_app_user_id",
    ) as worker:
        yield worker


async def crowd(worker: Watched, people: int) -> None:
    """So many sign up that the minute's calls for commands are used up. The others wait."""
    for number in range(people):
        await worker.stage.publish("user.signed_up.v1", sign_up_of(f"crowd-{number}"))
    await worker.until(
        lambda seen: (
            seen.value("messages_accepted_total") >= people
            and seen.value("product_paused", product="billing", cause="minute") > 0
            and seen.value(
                "product_closed_until_seconds",
                product="billing",
                priority="commands",
                cause="minute",
            )
            > 0
        ),
        "a crowd that waits for the minute's quota, as its metrics say",
    )


@pytest.mark.parametrize("people", [500, pytest.param(20_000, marks=pytest.mark.chaos)])
async def test_a_payment_goes_before_all_sign_ups_that_wait(
    around: Surroundings, people: int
) -> None:
    async with billing(around) as worker:
        await worker.stage.publish("user.signed_up.v1", sign_up_of("payer"))
        await worker.stage.event("customer.created.v1", user_id="payer")
        await crowd(worker, people)
        before = await worker.stage.sandbox.records("billing", "customers")

        payment = {
            "user_id": "payer",
            "payment_id": "p1",
            "amount": "10.00",
            "currency": "USD",
            "mode": "cash",
        }
        await worker.stage.publish("payment.record_requested.v1", payment)
        await worker.stage.event("payment.succeeded.v1", payment_id="p1")

        now = await worker.stage.sandbox.records("billing", "customers")
        assert len(now) - len(before) <= FOR_COMMANDS // 2 < people


async def test_what_stands_before_a_cancellation_makes_all_its_calls_as_urgently(
    around: Surroundings,
) -> None:
    async with billing(around) as worker:
        await crowd(worker, FOR_COMMANDS)

        # A customer is looked for and made, then subscribed: one of the calls is reserved.
        subscription = {
            "user_id": "u1",
            "subscription_id": "s1",
            "plan_code": "basic-monthly",
            "email": email_of("u1"),
            "full_name": "Ada Lovelace",
        }
        await worker.stage.publish("subscription.requested.v1", subscription)
        cancellation = {"subscription_id": "s1", "at_term_end": False}
        await worker.stage.publish("subscription.cancel_requested.v1", cancellation)

        await worker.stage.event(
            "subscription.changed.v1", subscription_id="s1", status="cancelled"
        )
