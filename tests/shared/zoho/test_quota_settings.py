"""Test the limits that the ledger keeps, as the environment sets them."""

from typing import Any, get_args

import pytest

from shared.environment import SettingsError, for_service
from shared.settings import ZohoCalls
from shared.zoho.products.billing.settings import BillingAccess
from shared.zoho.products.books.settings import BooksAccess
from shared.zoho.products.crm.settings import CrmAccess, CrmEdition
from shared.zoho.products.desk.settings import DeskAccess, DeskEdition
from shared.zoho.products.finance.settings import FinancePlan
from shared.zoho.products.profiles import PROFILES
from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.settings import limits_from


class Settings(ZohoCalls, BillingAccess, BooksAccess, CrmAccess, DeskAccess):
    model_config = for_service("billing-worker")


def limits(**settings: Any) -> dict[str, QuotaLimits]:
    quotas = {name: profile.quota for name, profile in PROFILES.items()}
    return limits_from(Settings(**settings), quotas, "Europe/Berlin")


def test_plans_decide() -> None:
    found = limits(
        zoho_billing_plan="free",
        zoho_books_plan="premium",
        zoho_crm_edition="professional",
        zoho_crm_users=10,
        zoho_desk_edition="enterprise",
        zoho_desk_agents=3,
    )
    assert {product: (limit.credits, limit.in_flight) for product, limit in found.items()} == {
        "billing": (1_000, 5),
        "books": (10_000, 10),
        "crm": (55_000, 15),
        "desk": (103_000, 25),
    }
    assert {product: limit.calls for product, limit in found.items()} == {
        "billing": 100,
        "books": 100,
        "crm": None,
        "desk": None,
    }
    assert [found["crm"].heavy_in_flight, found["desk"].heavy_in_flight] == [10, None]
    # CRM counts 24 hours, the others days.
    assert [limit.zone for limit in found.values()] == [
        "Europe/Berlin",
        "Europe/Berlin",
        None,
        "Europe/Berlin",
    ]


@pytest.mark.parametrize("product", PROFILES)
def test_each_limit_can_be_set(product: str) -> None:
    others = {
        f"zoho_{product}_calls_a_minute": 7,
        f"zoho_{product}_credits_a_day": 8,
        f"zoho_{product}_in_flight": 9,
    }
    found = limits(**others)[product]
    assert (found.calls, found.window_s, found.credits, found.in_flight) == (7, 60.0, 8, 9)


def test_every_plan_can_be_named() -> None:
    plans = {name: set(profile.quota.plans) for name, profile in PROFILES.items()}
    assert set(get_args(FinancePlan)) == plans["billing"] == plans["books"]
    assert set(get_args(CrmEdition)) == plans["crm"]
    assert set(get_args(DeskEdition)) == plans["desk"]


def test_a_misspelt_plan_stops_the_start_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOHO_RELAY_ENV_FILE", "")
    monkeypatch.setenv("ZOHO_BOOKS_PLAN", "premuim")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert "ZOHO_BOOKS_PLAN" in str(caught.value)
    assert "premium" in str(caught.value)


def test_plans_are_named_when_one_is_misspelt() -> None:
    with pytest.raises(ValueError, match=r"premium"):
        PROFILES["books"].quota.limits(plan="premuim")


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
    limits = PROFILES[product].quota.limits(plan=plan, users=users)
    assert (limits.credits, limits.in_flight) == (a_day, in_flight)
