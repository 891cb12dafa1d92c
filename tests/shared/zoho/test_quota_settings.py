"""Which limits the ledger keeps, from the environment."""

from typing import Any, get_args

import pytest

from shared.environment import SettingsError, for_service
from shared.settings import CrmEdition, DeskEdition, FinancePlan, ZohoCalls
from shared.zoho.quota.limits import PLANS, QuotaLimits, limits_of
from shared.zoho.quota.settings import limits_from


class Settings(ZohoCalls):
    model_config = for_service("billing-worker")


def limits(**settings: Any) -> dict[str, QuotaLimits]:
    return limits_from(Settings(**settings), "Europe/Berlin")


def test_plans_decide() -> None:
    found = limits(
        zoho_billing_plan="free",
        zoho_books_plan="premium",
        zoho_crm_edition="professional",
        zoho_crm_users=10,
        zoho_desk_edition="enterprise",
        zoho_desk_agents=3,
    )
    assert {product: (one.credits, one.in_flight) for product, one in found.items()} == {
        "billing": (1_000, 5),
        "books": (10_000, 10),
        "crm": (55_000, 15),
        "desk": (103_000, 25),
    }
    assert {product: one.calls for product, one in found.items()} == {
        "billing": 100,
        "books": 100,
        "crm": None,
        "desk": None,
    }
    assert [found["crm"].heavy_in_flight, found["desk"].heavy_in_flight] == [10, None]
    # CRM counts 24 hours, the others days.
    assert [one.zone for one in found.values()] == [
        "Europe/Berlin",
        "Europe/Berlin",
        None,
        "Europe/Berlin",
    ]


@pytest.mark.parametrize("product", PLANS)
def test_each_limit_can_be_set(product: str) -> None:
    others = {
        f"zoho_{product}_calls_a_minute": 7,
        f"zoho_{product}_credits_a_day": 8,
        f"zoho_{product}_in_flight": 9,
    }
    found = limits(**others)[product]
    assert (found.calls, found.window_s, found.credits, found.in_flight) == (7, 60.0, 8, 9)


def test_every_plan_can_be_named() -> None:
    assert set(get_args(FinancePlan)) == set(PLANS["billing"]) == set(PLANS["books"])
    assert set(get_args(CrmEdition)) == set(PLANS["crm"])
    assert set(get_args(DeskEdition)) == set(PLANS["desk"])


def test_a_misspelt_plan_stops_the_start_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOHO_RELAY_ENV_FILE", "")
    monkeypatch.setenv("ZOHO_BOOKS_PLAN", "premuim")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert "ZOHO_BOOKS_PLAN" in str(caught.value)
    assert "premium" in str(caught.value)


def test_plans_are_named_when_one_is_misspelt() -> None:
    with pytest.raises(ValueError, match=r"premium"):
        limits_of("books", plan="premuim")


@pytest.mark.parametrize(
    ("product", "plan", "users", "a_day", "in_flight"),
    [
        ("books", "free", 1, 1_000, 5),
        ("books", "premium", 9, 10_000, 10),
        ("crm", "standard", 10, 52_500, 10),
        ("crm", "standard", 1_000, 100_000, 10),
        ("desk", "enterprise", 3, 103_000, 25),
    ],
)
def test_plans_allow_what_zoho_says(
    product: str,
    plan: str,
    users: int,
    a_day: int,
    in_flight: int,
) -> None:
    limits = limits_of(product, plan=plan, users=users)
    assert (limits.credits, limits.in_flight) == (a_day, in_flight)
