"""The tier of a user, as a table of cases."""

import pytest

from services.billing_worker.subscriptions.user_tier import (
    OwnedSubscription,
    has_ended,
    is_active,
    tier_of,
)
from shared.contracts.tier import Tier

FREE_PLANS = ("free",)


@pytest.mark.parametrize(
    ("owned", "expected"),
    [
        ([], Tier.FREE),
        (["live pro"], Tier.PAID),
        (["future pro"], Tier.PAID),
        (["unpaid pro"], Tier.PAID),
        (["dunning pro"], Tier.PAID),
        (["non_renewing pro"], Tier.PAID),
        (["paused pro"], Tier.PAID),
        (["trial pro"], Tier.TRIAL),
        (["trial pro", "live basic"], Tier.PAID),
        (["live free"], Tier.FREE),
        (["live free", "trial pro"], Tier.TRIAL),
        (["live free", "cancelled pro"], Tier.FREE),
        (["cancelled pro"], Tier.CHURNED),
        (["cancelled_from_dunning pro"], Tier.CHURNED),
        (["expired pro"], Tier.CHURNED),
        (["trial_expired pro"], Tier.CHURNED),
        (["cancelled free"], Tier.CHURNED),
        (["cancelled pro", "live pro"], Tier.PAID),
        (["creation_failed pro"], Tier.FREE),
        (["creation_failed pro", "expired pro"], Tier.CHURNED),
        (["something_new pro"], Tier.FREE),
    ],
)
def test_the_first_tier_that_holds_is_the_users(owned, expected):
    assert tier_of([OwnedSubscription(*text.split()) for text in owned], FREE_PLANS) is expected


def test_without_free_plans_every_plan_is_paid():
    assert tier_of([OwnedSubscription("live", "free")]) is Tier.PAID


def test_a_subscription_whose_plan_is_not_known_yet_counts_as_paid():
    assert tier_of([OwnedSubscription("live", None)], FREE_PLANS) is Tier.PAID


@pytest.mark.parametrize(
    ("status", "active", "ended"),
    [
        ("trial", True, False),
        ("live", True, False),
        ("non_renewing", True, False),
        ("dunning", True, False),
        ("future", False, False),
        ("paused", False, False),
        ("cancelled", False, True),
        ("expired", False, True),
        ("creation_failed", False, False),
    ],
)
def test_a_status_says_whether_it_runs_and_whether_it_is_over(status, active, ended):
    assert (is_active(status), has_ended(status)) == (active, ended)
