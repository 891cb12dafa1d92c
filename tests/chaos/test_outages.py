"""Stop RabbitMQ and PostgreSQL under load: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos.declines import Declines, retry_of
from tests.chaos.hearing import Hearing
from tests.kit.people import email_of, sign_up_of

SERVICES = ("token-service", "webhook-gateway", "billing-worker", "crm-worker", "desk-worker")


@pytest.mark.parametrize(
    "away_s", [pytest.param(5, id="5 s"), pytest.param(30, id="30 s", marks=pytest.mark.chaos)]
)
async def test_webhooks_are_taken_while_rabbitmq_is_away(
    stack: Stack, stage: SystemDriver, away_s: float
) -> None:
    customer_id = await _customer(stage)
    async with Hearing(stack, "payment.failed.v1") as failures:
        async with _declines(stack, customer_id, per_s=20) as declines:
            await asyncio.sleep(1)
            await asyncio.to_thread(stack.stop_process, "rabbitmq")
            before = declines.sent
            await asyncio.sleep(away_s)
            meanwhile = declines.sent - before
            await asyncio.to_thread(stack.start_process, "rabbitmq")
            await asyncio.sleep(1)

        assert meanwhile > 20 * away_s * 0.4, "there was no load"
        assert declines.answers == {200: declines.sent}
        told = await failures.counts(retry_of, at_least=declines.expected)
        assert told == Counter(declines.expected)
    print(
        f"\nRabbitMQ away for {away_s:.0f} s: {declines.sent} webhooks ({meanwhile} meanwhile),"
        f" all answered 200, the slowest after {declines.slowest_s:.2f} s; each handled once"
    )


async def _stopped(stack: Stack) -> None:
    await asyncio.to_thread(stack.stop_process, "postgres")
    await asyncio.sleep(1)
    await asyncio.to_thread(stack.start_process, "postgres")


async def _crashed(stack: Stack) -> None:
    killed = await asyncio.to_thread(stack.kill, "postgres", how=signal.SIGKILL)
    await asyncio.to_thread(stack.wait_ready, "postgres", not_pid=killed)


@pytest.mark.parametrize(
    "restart",
    [
        pytest.param(_stopped, id="stopped and started"),
        pytest.param(_crashed, id="killed", marks=pytest.mark.chaos),
    ],
)
async def test_nothing_is_lost_when_postgresql_restarts_under_load(
    stack: Stack, stage: SystemDriver, restart: Callable[[Stack], Awaitable[None]]
) -> None:
    customer_id = await _customer(stage)
    before = {service: stack.pid(service) for service in SERVICES}
    async with (
        Hearing(stack, "payment.failed.v1") as failures,
        Hearing(stack, "customer.created.v1") as created,
    ):
        async with (
            _declines(stack, customer_id, per_s=10) as declines,
            _sign_ups(stage, per_s=5) as people,
        ):
            await asyncio.sleep(2)
            await restart(stack)
            await asyncio.sleep(2)

        assert declines.answers[200] == declines.sent
        assert set(declines.answers) <= {200, 503}
        assert "missing" not in declines.retry_after
        told = await failures.counts(retry_of, at_least=declines.expected)
        assert told == Counter(declines.expected)
        announced = await created.counts(lambda event: event["user_id"], at_least=people)
        assert announced == Counter(people)
    for person in people:
        await stage.zoho("crm", "contacts", "contact", partial(_has_email, email_of(person)))
    state = await stage.sandbox.state()
    customers = Counter(c["email"] for c in state["billing"]["customers"])
    contacts = Counter(c["Email"] for c in state["crm"]["contacts"])
    assert {customers[email_of(person)] for person in people} == {1}
    assert {contacts[email_of(person)] for person in people} == {1}
    for service in SERVICES:
        await asyncio.to_thread(stack.wait_ready, service)
    assert {service: stack.pid(service) for service in SERVICES} == before, "nobody had to restart"
    print(
        f"\nPostgreSQL {restart.__name__.strip('_')}: {declines.sent} webhooks"
        f" ({declines.answers[503]} answers 503 with Retry-After), {len(people)} sign-ups;"
        " each done once"
    )


async def _customer(stage: SystemDriver) -> str:
    """Zoho's id of a new customer that the system knows."""
    user_id = f"u-{uuid.uuid4().hex[:12]}"
    await _sign_up(stage, user_id)
    await stage.event("customer.created.v1", user_id=user_id)
    customers = await stage.sandbox.records("billing", "customers")
    return next(str(c["customer_id"]) for c in customers if c["email"] == email_of(user_id))


def _declines(stack: Stack, customer_id: str, *, per_s: float) -> Declines:
    secret = stack.settings["ZOHO_WEBHOOK_SECRET"].split(",")[0]
    return Declines(stack.env["GATEWAY_URL"], secret, customer_id, per_s)


@asynccontextmanager
async def _sign_ups(stage: SystemDriver, *, per_s: float) -> AsyncIterator[list[str]]:
    """People sign up one after the other until the context is left. Their user_ids."""
    people: list[str] = []
    enough = asyncio.Event()

    async def keep_signing_up() -> None:
        while not enough.is_set():
            user_id = f"u-{uuid.uuid4().hex[:12]}"
            await _sign_up(stage, user_id)
            people.append(user_id)
            await asyncio.sleep(1 / per_s)

    task = asyncio.create_task(keep_signing_up())
    try:
        yield people
    finally:
        enough.set()  # not cancelled: one that is published already is to be counted
        await task


async def _sign_up(stage: SystemDriver, user_id: str) -> None:
    await stage.publish("user.signed_up.v1", sign_up_of(user_id))


def _has_email(email: str, contact: Json) -> bool:
    return bool(contact["Email"] == email)
