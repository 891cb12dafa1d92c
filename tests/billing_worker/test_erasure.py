"""A user who asks to be forgotten is cancelled, emptied and forgotten, once, with a receipt."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from services.zoho_sandbox.server.world import World
from shared.contracts.commands import (
    PaymentCollectRequested,
    UserErasureRequested,
    UserSignedUp,
    UserUpdated,
)
from tests.billing_worker.conftest import Upstream
from tests.billing_worker.scenarios import (
    ADA,
    GRACE,
    a_card_payment,
    a_subscription,
    an_unpaid_invoice,
    subscribe,
    with_card,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

ERASE = UserErasureRequested(user_id="u1")


async def erased(upstream: Upstream) -> dict[str, Any]:
    """Erase Ada. Returns the receipt."""
    await upstream.send(ERASE)
    return await upstream.event("user.erased.v1", user_id="u1")


def part_of(receipt: dict[str, Any], product: str) -> dict[str, Any]:
    (part,) = [part for part in receipt["parts"] if part["product"] == product]
    return part


def kept_in(part: dict[str, Any]) -> dict[str, Any]:
    return {kept["what"]: kept for kept in part["kept"]}


def counts_in(part: dict[str, Any]) -> dict[str, int]:
    return {each["what"]: each["count"] for each in part["erased"]}


async def test_what_lives_is_cancelled_and_the_customer_is_empty_and_inactive(
    upstream: Upstream,
) -> None:
    await a_subscription(upstream)
    await with_card(upstream)

    receipt = await erased(upstream)

    (customer,) = await upstream.records("billing", "customers")
    (subscription,) = await upstream.records("billing", "subscriptions")
    assert customer["status"] == "inactive"
    assert "Fairweather" not in str(customer)
    assert "example.com" not in str(customer)
    assert subscription["status"] == "cancelled"
    assert await upstream.records("billing", "cards") == []
    assert counts_in(part_of(receipt, "billing")) == {
        "live subscription": 1,
        "card": 1,
        "customer": 1,
        "active customer": 1,
    }


async def test_the_contact_in_books_is_empty_and_inactive_and_the_invoices_are_named(
    upstream: Upstream,
) -> None:
    payment_id = await a_card_payment(upstream)
    invoice_id = (await upstream.event("invoice.issued.v1"))["invoice_id"]

    receipt = await erased(upstream)

    (contact,) = await upstream.records("books", "contacts")
    assert contact["status"] == "inactive"
    assert "Fairweather" not in str(contact)
    assert "example.com" not in str(contact)
    assert kept_in(part_of(receipt, "books"))["invoice"]["ids"] == [invoice_id]
    assert kept_in(part_of(receipt, "billing"))["invoice"]["ids"] == [invoice_id]
    assert kept_in(part_of(receipt, "billing"))["payment"]["ids"] == [payment_id]
    assert receipt["longest_retention_days"] == 190  # the ids of webhooks


async def test_the_command_twice_is_one_erasure_with_one_receipt(upstream: Upstream) -> None:
    await a_subscription(upstream)

    await upstream.send(ERASE, message_id="first")
    await upstream.send(ERASE, message_id="second")
    await upstream.event("user.erased.v1", user_id="u1")
    await upstream.send(ERASE, message_id="third")
    await upstream.settled()

    assert len(upstream.events_named("user.erased.v1")) == 1
    assert not upstream.events_named("command.failed.v1")


async def test_no_row_and_no_key_of_the_user_is_left_and_another_users_stay(
    upstream: Upstream, database: asyncpg.Connection
) -> None:
    await a_card_payment(upstream)
    await upstream.send(GRACE)
    await upstream.event("customer.created.v1", user_id="u2")

    await erased(upstream)

    tables = await database.fetch("SELECT table_id::regclass FROM relay.tables_of_users('billing')")
    assert tables
    for (table,) in tables:
        rows = await database.fetch(f"SELECT user_id FROM {table}")  # noqa: S608
        assert "u1" not in {row["user_id"] for row in rows}, table
    assert await database.fetchval("SELECT count(*) FROM billing.users WHERE user_id = 'u2'")
    owners = await database.fetch("SELECT owner FROM relay.data_keys WHERE wrapped IS NOT NULL")
    assert "user:u2" in {row["owner"] for row in owners}
    assert "user:u1" not in {row["owner"] for row in owners}
    assert not await database.fetchval("SELECT count(*) FROM relay.effects WHERE owner = 'u1'")


async def test_later_messages_of_the_user_end_as_erased_and_make_nothing(
    upstream: Upstream,
) -> None:
    await a_subscription(upstream)
    await erased(upstream)

    await upstream.send(ADA, message_id="again")
    await upstream.send(UserUpdated(user_id="u1", phone="+4930123456"), message_id="change")
    await upstream.send(subscribe(subscription_id="s2"), message_id="more")
    for message_id in ("again", "change", "more"):
        failed = await upstream.event("command.failed.v1", message_id=message_id)
        assert failed["code"] == "erased"

    (customer,) = await upstream.records("billing", "customers")
    assert customer["status"] == "inactive"
    assert len(await upstream.records("billing", "subscriptions")) == 1


async def test_a_command_about_something_of_the_user_ends_as_erased(upstream: Upstream) -> None:
    invoice_id = await an_unpaid_invoice(upstream)
    await with_card(upstream)
    await erased(upstream)

    await upstream.send(PaymentCollectRequested(invoice_id=invoice_id), message_id="collect")

    assert (await upstream.event("command.failed.v1", message_id="collect"))["code"] == "erased"
    assert not await upstream.records("billing", "payments")


async def test_webhooks_of_the_erased_user_recreate_and_announce_nothing(
    upstream: Upstream, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is being created, so that an unknown customer need not be waited for.
    monkeypatch.setattr("services.billing_worker.handlers.webhook_user._MAY_BE_OURS_S", 0.0)
    subscription = await a_subscription(upstream)
    await upstream.webhooks_handled()
    await erased(upstream)
    handled = upstream.posted
    known = len(upstream.events)

    await upstream.sandbox.renew(subscription["subscription_id"])
    await upstream.webhooks_handled()

    assert upstream.posted > handled
    assert {key for key, _ in upstream.events[known:]} == set()
    assert not await database.fetchval("SELECT count(*) FROM billing.subscriptions")


async def test_who_comes_back_under_the_same_email_is_a_new_user(upstream: Upstream) -> None:
    await a_subscription(upstream)
    await erased(upstream)

    await upstream.send(UserSignedUp(user_id="u3", email=ADA.email, full_name=ADA.full_name))

    created = await upstream.event("customer.created.v1", user_id="u3")
    customers = await upstream.records("billing", "customers")
    assert created.get("adopted") is False
    assert [each["status"] for each in customers] == ["inactive", "active"]


async def test_an_inactive_customer_of_the_same_email_and_name_is_nobodys_to_adopt(
    upstream: Upstream, world: World
) -> None:
    await a_subscription(upstream)
    await upstream.sandbox.fault("billing", "status:400", operation="update_customer", times=9)
    receipt = await erased(upstream)
    assert kept_in(part_of(receipt, "billing"))["customer"]["reason"].startswith("Zoho refused")
    # As in an organization without the field that carries our id.
    for customer in world.table("billing", "customers"):
        customer["custom_fields"] = []

    await upstream.send(UserSignedUp(user_id="u3", email=ADA.email, full_name=ADA.full_name))

    created = await upstream.event("customer.created.v1", user_id="u3")
    assert created.get("adopted") is False


async def test_cards_that_zoho_does_not_list_keep_nothing_else_from_being_erased(
    upstream: Upstream,
) -> None:
    await a_subscription(upstream)
    await upstream.sandbox.fault("billing", "status:400", operation="list_cards", times=99)

    receipt = await erased(upstream)

    (customer,) = await upstream.records("billing", "customers")
    (subscription,) = await upstream.records("billing", "subscriptions")
    assert (customer["status"], subscription["status"]) == ("inactive", "cancelled")
    kept = kept_in(part_of(receipt, "billing"))
    assert kept["list of cards"]["reason"].startswith("Zoho refused")


async def test_dead_letters_of_the_user_go_too(
    upstream: Upstream, database: asyncpg.Connection
) -> None:
    await upstream.send(ADA)
    await upstream.send(subscribe(plan_code="no-such-plan"), message_id="dead")
    await upstream.event("command.failed.v1", message_id="dead")

    await erased(upstream)

    assert not await database.fetchval(
        "SELECT count(*) FROM billing.dead_letters WHERE line = 'user:u1'"
    )
