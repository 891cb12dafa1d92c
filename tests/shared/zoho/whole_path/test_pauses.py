"""While a product is out of reach, the queues that need it pause, and say so; then they go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from services.billing_worker import app as billing_worker
from services.billing_worker.settings import Settings as BillingSettings
from services.crm_worker import app as crm_worker
from services.crm_worker.settings import Settings as CrmSettings
from services.desk_worker import app as desk_worker
from services.desk_worker.settings import Settings as DeskSettings
from services.zoho_sandbox.driver import Json
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import Watched, watched

USERS = [f"u{n}" for n in range(6)]


@pytest.fixture
async def around(database_url: str, amqp_url: str) -> AsyncIterator[Surroundings]:
    async with Surroundings(database_url, amqp_url) as surroundings:
        yield surroundings


async def sign_up(worker: Watched, user: str) -> None:
    body = {"user_id": user, "email": f"{user}@example.com", "full_name": f"Ada {user}"}
    await worker.stage.publish("user.signed_up.v1", body)


async def note(worker: Watched, user: str) -> None:
    body = {"user_id": user, "interaction_id": user, "title": "Asked", "content": "Why?"}
    await worker.stage.publish("interaction.recorded.v1", body)


def of(user: str) -> Callable[[Json], bool]:
    return lambda held: str(held["Note_Content"]).endswith(f"ref {user}")


async def escalate(worker: Watched, escalation: str) -> None:
    body: dict[str, Any] = {
        "escalation_id": escalation,
        "email": "ada@example.com",
        "subject": "Charged twice",
        "description": "The customer insists on a person.",
        "transcript": "user: I want a person.",
    }
    await worker.stage.publish("support.escalated.v1", body)


async def paused(worker: Watched, product: str, cause: str) -> None:
    await worker.until(
        lambda seen: bool(
            seen.value("zoho_breaker_open", product=product, cause=cause)
            and seen.value("product_paused", product=product)
        ),
        f"a pause of {product}",
    )


async def test_notes_wait_for_crm_in_a_queue_that_pauses(
    around: Surroundings,
) -> None:
    async with watched(
        around,
        "crm-worker",
        crm_worker.main,
        CrmSettings,
        queue="crm-worker.intake.events",
        crm_flush_every_s=0.1,
        zoho_crm_user_field="App_User_Id",
        slots=1,  # so that one finds out, and the others stay in the queue
        breaker_pause_s=3.0,  # time enough to see it
    ) as worker:
        for user in USERS:
            await sign_up(worker, user)
        for user in USERS:
            await worker.stage.event("contact.synced.v1", user_id=user)
        await worker.stage.sandbox.fault("crm", "user_disabled")

        for user in USERS:
            await note(worker, user)
        await paused(worker, "crm", "token")
        await worker.stage.sandbox.clear_faults()
        done = {"routing_key": "interaction.recorded.v1", "settlement": "done"}
        await worker.hurry_until(
            lambda seen: seen.value("messages_settled_total", **done) >= len(USERS),
            "six notes",
        )

        for user in USERS:
            await worker.stage.zoho("crm", "notes", "note", of(user))
        seen = await worker.look()
        assert seen.value("product_paused", product="crm") == 0
        assert seen.value("dead_letters_total") == 0
        assert "retry" not in seen.by("messages_settled_total", "settlement")


async def test_what_one_operation_lacks_holds_up_its_own_messages_only(
    around: Surroundings,
) -> None:
    async with watched(
        around,
        "billing-worker",
        billing_worker.main,
        BillingSettings,
        queue="billing-worker.intake.webhooks",
        breaker_pause_s=600.0,  # longer than anybody waits here
    ) as worker:
        for user in ("u1", "u2"):
            await sign_up(worker, user)
            await worker.stage.event("customer.created.v1", user_id=user)
        lacks = {"code": 57, "message": "You are not authorized to perform this operation"}
        await worker.order("billing", "create_subscription", kind="answer", status=200, body=lacks)

        for number in range(2):
            wanted = {"subscription_id": f"s{number}", "plan_code": "basic-monthly"}
            await worker.stage.publish("subscription.requested.v1", {"user_id": "u1", **wanted})
        told = await worker.until(
            lambda seen: bool(
                seen.value("zoho_breaker_open", product="billing", cause="scope")
                and seen.by("messages_settled_total", "settlement").get("wait_for_person")
            ),
            "a breaker that is open",
        )
        assert told.value("product_paused") == 0

        paid = {"payment_id": "p2", "amount": "9.90", "currency": "USD", "mode": "cash"}
        await worker.stage.publish("payment.record_requested.v1", {"user_id": "u2", **paid})
        await worker.stage.event("payment.succeeded.v1", user_id="u2")
        await sign_up(worker, "u3")
        await worker.stage.event("customer.created.v1", user_id="u3")

        seen = await worker.look()
        assert seen.value("product_paused") == 0
        assert seen.value("zoho_breaker_open", product="billing", cause="scope") == 1
        assert seen.value("dead_letters_total") == 0
        assert "retry" not in seen.by("messages_settled_total", "settlement")
        refused = {"product": "billing", "operation": "create_subscription"}
        assert seen.value("zoho_api_requests_total", **refused) <= 2  # the second is a new token's


async def test_a_day_that_the_flusher_finds_used_up_pauses_the_queue_and_holds_up_no_stop(
    around: Surroundings,
) -> None:
    async with (
        asyncio.timeout(45),
        watched(
            around,
            "crm-worker",
            crm_worker.main,
            CrmSettings,
            queue="crm-worker.intake.events",
            crm_flush_every_s=0.1,
            zoho_crm_credits_a_day=1,
        ) as worker,
    ):
        await sign_up(worker, "u1")

        await paused(worker, "crm", "day")

        assert await worker.stage.sandbox.requests(product="crm") == []


async def test_a_day_that_the_ledger_knows_to_be_used_up_pauses_the_queue_of_tickets(
    around: Surroundings,
) -> None:
    async with watched(
        around,
        "desk-worker",
        desk_worker.main,
        DeskSettings,
        queue="desk-worker.intake.webhooks",
        desk_poll_every_s=3600.0,
        zoho_desk_credits_a_day=1,
    ) as worker:
        await escalate(worker, "e1")

        await worker.until(
            lambda seen: bool(seen.value("product_paused", product="desk")), "a pause of desk"
        )

        assert await worker.stage.sandbox.requests(product="desk") == []
