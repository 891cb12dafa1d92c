"""A change is announced once, even when two replicas read it at the same moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.billing_worker.repositories.subscriptions import StoredSubscription
from services.billing_worker.repositories.users import User
from services.billing_worker.subscriptions.subscription_sync import SubscriptionSync
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.outbox.committer import StaleRead
from shared.zoho.products.billing.models import Subscription

NOW = datetime(2026, 1, 31, 10, tzinfo=UTC)
LIVE = StoredSubscription(
    org="default",
    subscription_id="s1",
    user_id="u1",
    zoho_id="4600000000012345678",
    origin="application",
    status="live",
    plan_code="basic-monthly",
    quantity=None,
    term_ends_at=None,
    zoho_updated_at=NOW,
    read_at=NOW,
)
UNPAID = Subscription(subscription_id=LIVE.zoho_id, status="unpaid", updated_time=NOW)
USER = User("default", "u1", {}, {}, None, None, revision=7)


class Subscriptions:
    """Holds the subscription that is stored when the user has been read."""

    def __init__(self, current: StoredSubscription | None) -> None:
        self._current = current

    async def get(self, _org: str, _subscription_id: str) -> StoredSubscription | None:
        return self._current

    async def list_for_user(self, _org: str, _user_id: str) -> list[StoredSubscription]:
        return [self._current] if self._current else []

    async def save(self, _work: UnitOfWork, _one: StoredSubscription) -> None:
        pass

    def record_read(self, *_: object) -> None:
        pass


class Users:
    def take_revision(self, _work: UnitOfWork, _user: User) -> None:
        pass


def sync_with(current: StoredSubscription | None) -> SubscriptionSync:
    doubles: Any = (Users(), Subscriptions(current), None)
    return SubscriptionSync(*doubles, free_plan_codes=())


async def test_a_new_state_is_announced() -> None:
    work = UnitOfWork(org="default")

    await sync_with(LIVE).apply(work, USER, LIVE, UNPAID, origin="zoho", read_at=NOW)

    assert [message.event.model_dump()["cause"] for message in work.events] == ["payment_failed"]


@pytest.mark.parametrize("change", [{"status": "unpaid"}, {"read_at": NOW.replace(hour=11)}])
async def test_a_state_that_another_announced_meanwhile_is_not_announced_again(
    change: dict[str, Any],
) -> None:
    work = UnitOfWork(org="default")

    with pytest.raises(StaleRead):
        await sync_with(replace(LIVE, **change)).apply(
            work, USER, LIVE, UNPAID, origin="zoho", read_at=NOW
        )

    assert work.events == []


async def test_a_subscription_that_another_stored_meanwhile_is_not_announced_as_new() -> None:
    work = UnitOfWork(org="default")

    with pytest.raises(StaleRead):
        await sync_with(LIVE).create(work, USER, "s1", UNPAID, origin="zoho", read_at=NOW)

    assert work.events == []
