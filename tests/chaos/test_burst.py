"""A burst of sign-ups by far exceeds the minute's calls: none is spent on anything twice."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from services.billing_worker import app as billing_worker
from services.billing_worker.settings import Settings
from tests.kit.people import email_of, sign_up_of
from tests.kit.surroundings import Surroundings

WINDOW_S = 6.0  # longer than a call waits for its permit in place


@pytest.mark.parametrize(
    ("people", "calls", "replicas"),
    [
        (16, 20, 1),
        (16, 20, 3),
        pytest.param(600, 100, 1, marks=pytest.mark.chaos),
        pytest.param(600, 100, 3, marks=pytest.mark.chaos),
    ],
)
async def test_a_burst_of_sign_ups_wastes_no_call(
    around: Surroundings, people: int, calls: int, replicas: int
) -> None:
    settings = Settings(
        **around.environment,
        zoho_billing_calls_a_minute=calls,
        zoho_window_s=WINDOW_S,
        zoho_billing_user_field="cf_app_user_id",
    )
    async with AsyncExitStack() as stack:
        for _ in range(replicas):
            stage = await stack.enter_async_context(
                around.running(
                    billing_worker.main, settings, queue="billing-worker.intake.commands"
                )
            )
        await stage.sandbox.set_limits("billing", minute=calls, window_s=WINDOW_S)
        users = [f"burst-{number}" for number in range(people)]
        for user_id in users:
            await stage.publish("user.signed_up.v1", sign_up_of(user_id))
        stage.patience_s = 240
        for user_id in users:
            await stage.event("customer.created.v1", user_id=user_id)
        requests = await stage.sandbox.requests(product="billing")

    looks = [row for row in requests if row["operation"] == "list_customers"]
    creates = [row for row in requests if row["operation"] == "create_customer"]
    useful = len({row["query"].get("email_contains") or row["query"].get("email") for row in looks})
    assert {row["status"] for row in requests} <= {200, 201}
    assert len(creates) == people
    assert len(looks) <= len(creates)
    assert (len(creates) + useful) / len(requests) >= 0.95
    assert email_of(users[0]) in str(looks)
