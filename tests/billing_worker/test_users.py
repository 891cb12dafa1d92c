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


async def test_a_phone_that_is_not_certain_is_left_out_with_a_note(upstream: Upstream) -> None:
    await upstream.send(ADA.model_copy(update={"phone": "call me // maybe"}))

    created = await upstream.event("customer.created.v1", user_id="u1")
    customer = await upstream.zoho("billing", "customers", "customer", lambda c: True)
    assert created["left_out"] == ["phone"]
    assert not customer.get("phone")


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


async def test_the_only_customer_of_an_email_is_adopted_under_another_name(
    upstream: Upstream, world: World
) -> None:
    new_customer(world, {"display_name": "A. Fairweather Ltd", "email": "ada@example.com"})

    await upstream.send(ADA)

    created = await upstream.event("customer.created.v1", user_id="u1")
    assert created["adopted"] is True
    assert len(await upstream.records("billing", "customers")) == 1


async def test_neither_of_two_customers_of_an_email_is_adopted_under_another_name(
    upstream: Upstream, world: World
) -> None:
    for name in ("A. Fairweather Ltd", "Fairweather & Daughter"):
        new_customer(world, {"display_name": name, "email": "ada@example.com"})

    await upstream.send(ADA)

    created = await upstream.event("customer.created.v1", user_id="u1")
    assert created["adopted"] is False
    assert len(await upstream.records("billing", "customers")) == 3


@pytest.mark.parametrize(
    ("refusals", "name"),
    [
        (1, "Ada Fairweather (ada@example.com)"),
        (2, "Ada Fairweather (u1)"),
    ],
)
async def test_a_name_that_is_taken_is_given_a_suffix(
    upstream: Upstream, refusals: int, name: str
) -> None:
    body = {"code": 3062, "message": "The customer already exists."}
    await upstream.sandbox.post(
        "faults",
        product="billing",
        operation="create_customer",
        kind="answer",
        status=400,
        body=body,
        times=refusals,
    )

    await upstream.send(ADA)

    await upstream.event("customer.created.v1", user_id="u1")
    (customer,) = await upstream.records("billing", "customers")
    assert customer["display_name"] == name


async def test_a_customer_carries_our_id_though_billing_names_the_field_in_another_way(
    upstream: Upstream,
) -> None:
    await upstream.sandbox.set_behaviour(customer_fields_by="label")

    for n in range(3):
        await upstream.publish("user.signed_up.v1", {"user_id": f"u{n}", "email": f"u{n}@x.org"})
        await upstream.event("customer.created.v1", user_id=f"u{n}")

    customers = await upstream.records("billing", "customers")
    updates = await upstream.sandbox.requests(product="billing", operation="update_customer")
    ids = {customer["customer_id"] for customer in customers}
    marked = [update for update in updates if update["path"].rsplit("/", 1)[1] in ids]
    assert {customer["custom_fields"][0]["value"] for customer in customers} == {"u0", "u1", "u2"}
    assert len(marked) == 1, "the form that was stored is used from then on"


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
    assert (customer["first_name"], customer["last_name"]) == ("Ada", "Lovelace")
    assert customer["email"] == "ada@new.example.com"
    assert customer["phone"] == ""
    assert len(await upstream.records("billing", "customers")) == 1


async def test_a_new_last_name_changes_the_display_name(upstream: Upstream) -> None:
    await upstream.send(UserSignedUp(user_id="u1", email="a@b.example", full_name="Ada Fair"))
    await upstream.send(UserUpdated(user_id="u1", last_name="Lovelace"))

    customer = await upstream.zoho(
        "billing", "customers", "renamed", lambda c: c["last_name"] == "Lovelace"
    )
    assert (customer["display_name"], customer["first_name"]) == ("Ada Lovelace", "Ada")


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
