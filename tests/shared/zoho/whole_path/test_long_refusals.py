"""Test that long refusals lose nothing, spend no attempt, and end by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import aiohttp
import pytest

from services.billing_worker import app
from services.billing_worker.settings import Settings
from services.zoho_sandbox.settings import SandboxSettings
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import Watched, watched

SERVICE = "billing-worker"
USERS = [f"u{n}" for n in range(8)]


@pytest.fixture
async def around(database_url: str, amqp_url: str) -> AsyncIterator[Surroundings]:
    async with Surroundings(database_url, amqp_url) as surroundings:
        yield surroundings


@pytest.fixture
async def worker(around: Surroundings) -> AsyncIterator[Watched]:
    async with watched(
        around,
        "billing-worker",
        app.main,
        Settings,
        queue="billing-worker.intake.webhooks",
        zoho_minute_calls=100_000,
        slots=1,  # so that one finds out, and the others stay in the queue
    ) as billing_worker:
        yield billing_worker


async def sign_up(worker: Watched, *users: str) -> None:
    for user in users:
        body = {"user_id": user, "email": f"{user}@example.com", "full_name": f"Ada {user}"}
        await worker.stage.publish("user.signed_up.v1", body)


async def all_are_customers(worker: Watched) -> None:
    """One of each, and nothing was given up on the way."""
    for user in USERS:
        await worker.stage.event("customer.created.v1", user_id=user)
    emails = [row["email"] for row in await worker.stage.sandbox.records("billing", "customers")]
    assert sorted(emails) == sorted(f"{user}@example.com" for user in USERS)
    assert await worker.dead() == 0
    assert (await worker.look()).value("dead_letters_total") == 0


async def test_a_day_limit_pauses_the_queue_until_the_reset(
    worker: Watched,
) -> None:
    body = {"code": 45, "message": "The API call has exceeded the maximum call rate limit of 10."}
    resets = {"X-Rate-Limit-Reset": "5", "X-Rate-Limit-Remaining": "0"}
    await worker.order(
        "billing", "list_customers", kind="answer", status=429, body=body, headers=resets
    )

    await sign_up(worker, *USERS)
    await worker.until(
        lambda seen: bool(
            seen.value("zoho_breaker_open", product="billing", cause="day")
            and seen.value("product_paused", product="billing")
        ),
        "a pause for the day",
    )
    await worker.stage.sandbox.clear_faults()

    await all_are_customers(worker)
    calls = await worker.stage.sandbox.requests(product="billing")
    last_refused = max(number for number, call in enumerate(calls) if call["status"] == 429)
    refused, next_one = (datetime.fromisoformat(c["time"]) for c in calls[last_refused:][:2])
    assert (next_one - refused).total_seconds() >= 4.5
    assert sum(call["status"] == 429 for call in calls) == 1  # one was enough to know
    seen = await worker.look()
    assert seen.value("product_paused", product="billing") == 0
    assert set(seen.by("messages_settled_total", "settlement", service=SERVICE)) == {
        "done",
        "postpone",
    }


async def test_a_disabled_user_for_long_loses_nothing(worker: Watched) -> None:
    await worker.stage.sandbox.fault("billing", "user_disabled")

    await sign_up(worker, *USERS)
    # Pauses double from 0.1 s on, as they do from 15 s on until one is 5 minutes.
    refused = {"product": "billing", "outcome": "disabled_user"}
    await worker.until(
        lambda seen: seen.value("zoho_api_requests_total", **refused) >= 5, "five refused trials"
    )
    paused = await worker.until(
        lambda seen: bool(seen.value("product_paused", product="billing")), "a pause"
    )
    assert paused.value("zoho_breaker_open", product="billing", cause="disabled_user") == 1
    await worker.stage.sandbox.clear_faults()
    done = {"service": SERVICE, "settlement": "done"}
    await worker.hurry_until(
        lambda seen: seen.value("messages_settled_total", **done) >= len(USERS), "sign-ups"
    )

    await all_are_customers(worker)
    seen = await worker.look()
    assert seen.value("zoho_breaker_open", product="billing") == 0
    assert set(seen.by("messages_settled_total", "settlement", service=SERVICE)) == {
        "done",
        "wait_for_person",
    }


async def test_a_token_that_zoho_killed_is_replaced_within_the_attempt(worker: Watched) -> None:
    await sign_up(worker, USERS[0])
    await worker.stage.event("customer.created.v1", user_id=USERS[0])
    await worker.stage.sandbox.set_limits("accounts", live_tokens=1)
    await _mint(worker.stage.sandbox_url)  # somebody else's, with the same refresh token

    await sign_up(worker, *USERS[1:])

    await all_are_customers(worker)
    seen = await worker.look()
    assert seen.value("zoho_api_requests_total", product="billing", outcome="token") >= 1
    assert set(seen.by("messages_settled_total", "settlement", service=SERVICE)) == {"done"}


async def _mint(sandbox_url: str) -> None:
    settings = SandboxSettings()
    form = {
        "grant_type": "refresh_token",
        "client_id": settings.client_id,
        "client_secret": settings.client_secret.get_secret_value(),
        "refresh_token": settings.refresh_token.get_secret_value(),
    }
    url = f"{sandbox_url}/accounts/oauth/v2/token"
    async with aiohttp.ClientSession() as session, session.post(url, data=form) as answer:
        assert "access_token" in await answer.json()
