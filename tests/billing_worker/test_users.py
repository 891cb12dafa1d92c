"""Each user becomes exactly one customer in Billing."""

import asyncio

import pytest

from services.zoho_sandbox.billing.customers import new_customer
from services.zoho_sandbox.server.world import World
from shared.contracts.commands import SubscriptionRequested, UserSignedUp, UserUpdated
from tests.billing_worker.conftest import Upstream

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADA = UserSignedUp(
    user_id="u1",
    email="ada@example.com",
    first_name="Ada",
    last_name="Fairweather",
    phone="+3712345",
)


async def test_a_user_who_signs_up_becomes_a_customer(upstream: Upstream) -> None:
    await upstream.send(ADA)

    created = await upstream.event("customer.created.v1", user_id="u1")
    (customer,) = await upstream.records("billing", "customers")
    assert created["adopted"] is False
    assert customer["display_name"] == "Ada Fairweather"
    assert customer["email"] == "ada@example.com"
    assert customer["phone"] == "+3712345"
    assert customer["is_portal_enabled"] is False
    assert [field["value"] for field in customer["custom_fields"]] == ["u1"]


async def test_the_same_sign_up_many_times_makes_one_customer(upstream: Upstream) -> None:
    await asyncio.gather(*(upstream.send(ADA, message_id="m1") for _ in range(10)))
    await asyncio.gather(*(upstream.send(ADA) for _ in range(10)))
    last = ADA.model_copy(update={"user_id": "u2", "email": "ben@example.com"})
    await upstream.send(last)

    await upstream.event("customer.created.v1", user_id="u1")
    await upstream.event("customer.created.v1", user_id="u2")
    emails = [customer["email"] for customer in await upstream.records("billing", "customers")]
    assert sorted(emails) == ["ada@example.com", "ben@example.com"]
    assert len(upstream.events_named("customer.created.v1")) == 2


async def test_a_customer_without_a_user_is_adopted(upstream: Upstream, world: World) -> None:
    new_customer(world, {"display_name": "Ada Fairweather", "email": "Ada@Example.com"})

    await upstream.send(ADA)

    created = await upstream.event("customer.created.v1", user_id="u1")
    assert created["adopted"] is True
    assert len(await upstream.records("billing", "customers")) == 1


async def test_a_customer_of_another_user_is_not_adopted(upstream: Upstream) -> None:
    await upstream.send(ADA)
    await upstream.event("customer.created.v1", user_id="u1")

    await upstream.send(ADA.model_copy(update={"user_id": "u2"}))

    created = await upstream.event("customer.created.v1", user_id="u2")
    assert created["adopted"] is False
    assert len(await upstream.records("billing", "customers")) == 2


async def test_an_update_of_a_user_updates_the_customer(upstream: Upstream) -> None:
    await upstream.send(ADA)
    await upstream.send(UserUpdated(user_id="u1", email="ada@new.example.com", phone=None))
    await upstream.send(UserUpdated(user_id="u1", full_name="Ada Lovelace"))

    customer = await upstream.zoho(
        "billing", "customers", "renamed", lambda c: c["display_name"] == "Ada Lovelace"
    )
    assert customer["email"] == "ada@new.example.com"
    assert customer["phone"] == ""
    assert len(await upstream.records("billing", "customers")) == 1


async def test_an_update_that_overtakes_the_sign_up_holds(upstream: Upstream) -> None:
    await upstream.send(UserUpdated(user_id="u1", phone="+999"))
    await upstream.send(ADA)

    await upstream.zoho("billing", "customers", "updated", lambda c: c["phone"] == "+999")


async def test_a_subscription_with_an_email_needs_no_sign_up_before(upstream: Upstream) -> None:
    await upstream.send(
        SubscriptionRequested(
            user_id="u1",
            subscription_id="s1",
            plan_code="free",
            email="ada@example.com",
            full_name="Ada F.",
        )
    )
    await upstream.event("subscription.changed.v1", subscription_id="s1")
    await upstream.send(ADA)
    await upstream.send(UserUpdated(user_id="u1", full_name="Ada Fairweather"))

    await upstream.zoho(
        "billing", "customers", "named", lambda c: c["display_name"] == "Ada Fairweather"
    )
    assert len(await upstream.records("billing", "customers")) == 1


async def test_a_lost_answer_makes_no_second_customer(upstream: Upstream) -> None:
    await upstream.sandbox.fault("billing", "reset_after", operation="create_customer", times=1)

    await upstream.send(ADA)

    await upstream.event("customer.created.v1", user_id="u1")
    assert len(await upstream.records("billing", "customers")) == 1
