"""What one call has learned of Zoho holds back all others, in the next process too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.billing_worker import app
from services.billing_worker.settings import Settings
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import Watched, watched

SERVICE = "billing-worker"


@pytest.fixture
async def around(database_url: str, amqp_url: str) -> AsyncIterator[Surroundings]:
    async with Surroundings(database_url, amqp_url) as surroundings:
        yield surroundings


@asynccontextmanager
async def a_worker(around: Surroundings, **settings: Any) -> AsyncIterator[Watched]:
    """One that remembers nothing: its breakers live in its memory."""
    async with watched(
        around,
        "billing-worker",
        app.main,
        Settings,
        queue="billing-worker.intake.webhooks",
        **{"zoho_minute_calls": 100_000, "slots": 1, **settings},
    ) as worker:
        yield worker


async def sign_up(worker: Watched, user: str) -> None:
    body = {"user_id": user, "email": f"{user}@example.com", "full_name": "Ada Lace"}
    await worker.stage.publish("user.signed_up.v1", body)


async def paused(worker: Watched, product: str, cause: str) -> None:
    await worker.until(
        lambda seen: bool(
            seen.value("zoho_breaker_open", product=product, cause=cause)
            and seen.value("product_paused", product="billing")
        ),
        f"a pause for {cause}",
    )


async def test_a_restart_and_a_second_replica_make_no_call_while_zohos_day_is_used_up(
    around: Surroundings,
) -> None:
    async with a_worker(around) as worker:
        body = {"code": 45, "message": "The API call has exceeded the maximum call rate limit."}
        resets = {"X-Rate-Limit-Reset": "3600", "X-Rate-Limit-Remaining": "0"}
        await worker.order(
            "billing", "list_customers", kind="answer", status=429, body=body, headers=resets
        )
        await sign_up(worker, "u1")
        await paused(worker, "billing", "day")

    async with a_worker(around) as restarted, a_worker(around) as second:
        for number in range(2, 10):  # some for each
            await sign_up(restarted, f"u{number}")
        for worker in (restarted, second):  # the ledger knows, so nothing is even leased
            await worker.until(
                lambda seen: bool(seen.value("product_paused", product="billing")), "a pause"
            )

        assert len(await restarted.stage.sandbox.requests(product="billing")) == 1


async def test_a_restart_asks_for_no_token_while_the_refresh_token_is_dead(
    around: Surroundings,
) -> None:
    async with a_worker(around, breaker_pause_s=600.0) as worker:
        await worker.order("accounts", "generate_token", kind="answer", status=200,
                           body={"error": "invalid_code"})  # fmt: skip
        await sign_up(worker, "u1")
        await paused(worker, "accounts", "refresh_token_dead")

    async with a_worker(around, breaker_pause_s=600.0) as restarted:
        await sign_up(restarted, "u2")
        await paused(restarted, "accounts", "refresh_token_dead")

        asked = await restarted.stage.sandbox.requests(
            product="accounts", operation="generate_token"
        )
        assert len(asked) == 1
        assert await restarted.stage.sandbox.requests(product="billing") == []


async def test_one_refusal_is_enough_for_all_who_wait_for_their_turn(
    around: Surroundings,
) -> None:
    one_at_a_time: dict[str, Any] = {"slots": 24, "zoho_billing_in_flight": 1}
    async with a_worker(around, **one_at_a_time, breaker_pause_s=600.0) as worker:
        await worker.order("billing", "list_customers", kind="hold", times=1)
        for number in range(20):
            await sign_up(worker, f"u{number}")
        await worker.stage.sandbox.wait_until_held("billing", "list_customers")
        await worker.stage.sandbox.clear_faults()
        await worker.stage.sandbox.fault("billing", "user_disabled")

        await worker.until(
            lambda seen: seen.value("messages_settled_total", service=SERVICE) >= 20,
            "20 settlements",
        )

        refused = {"product": "billing", "outcome": "disabled_user"}
        assert (await worker.look()).value("zoho_api_requests_total", **refused) == 1
