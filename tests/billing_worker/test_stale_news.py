"""News is told once, though two who hear of it look at the same moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.billing_worker.repositories.subscriptions import StoredSubscription
from services.billing_worker.repositories.users import User
from services.billing_worker.sync.subscription_sync import SubscriptionSync
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
    """What is stored by the time the user has been read."""

    def __init__(self, current: StoredSubscription | None) -> None:
        self._current = current

    async def get(self, _org: str, _subscription_id: str) -> StoredSubscription | None:
        return self._current

    async def of_user(self, _org: str, _user_id: str) -> list[StoredSubscription]:
        return [self._current] if self._current else []

    async def put(self, _work: UnitOfWork, _one: StoredSubscription) -> None:
        pass

    def record_read(self, *_: object) -> None:
        pass


class Users:
    def take_revision(self, _work: UnitOfWork, _user: User) -> None:
        pass


def news(current: StoredSubscription | None) -> SubscriptionSync:
    doubles: Any = (Users(), Subscriptions(current), None)
    return SubscriptionSync(*doubles, free_plan_codes=())


async def test_what_is_still_stored_is_compared_and_told() -> None:
    work = UnitOfWork(org="default")

    await news(LIVE).compare(work, USER, LIVE, UNPAID, origin="zoho", read_at=NOW)

    assert [one.event.model_dump()["cause"] for one in work.events] == ["payment_failed"]


@pytest.mark.parametrize("change", [{"status": "unpaid"}, {"read_at": NOW.replace(hour=11)}])
async def test_what_another_has_told_meanwhile_is_not_told_again(change: dict[str, Any]) -> None:
    work = UnitOfWork(org="default")

    with pytest.raises(StaleRead):
        await news(replace(LIVE, **change)).compare(
            work, USER, LIVE, UNPAID, origin="zoho", read_at=NOW
        )

    assert work.events == []


async def test_a_subscription_that_another_has_stored_meanwhile_is_not_told_as_a_new_one() -> None:
    work = UnitOfWork(org="default")

    with pytest.raises(StaleRead):
        await news(LIVE).first(work, USER, "s1", UNPAID, origin="zoho", read_at=NOW)

    assert work.events == []
