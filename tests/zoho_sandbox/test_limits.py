"""Test that quotas are counted as Zoho counts them."""

from __future__ import annotations

import asyncio

import pytest

from services.zoho_sandbox.driver import SandboxDriver
from services.zoho_sandbox.server.limits import Meter, RateLimit, Refusal
from tests.kit.sandbox_client import Zoho


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_minute_slides() -> None:
    time = Time()
    meter = Meter(RateLimit(minute=2, window_s=60), time, lambda: 86_400)
    assert meter.admit(1) is None
    time.now += 59
    assert meter.admit(1) is None

    assert meter.admit(1) is Refusal.MINUTE
    time.now += 1  # the first one is a minute old
    assert meter.admit(1) is None
    assert meter.admit(1) is Refusal.MINUTE


def test_the_day_counts_credits_and_starts_anew_at_midnight() -> None:
    time = Time()
    meter = Meter(RateLimit(day=10, reset_in_s=100), time, lambda: 86_400)
    assert meter.admit(9) is None
    assert meter.admit(2) is Refusal.DAY
    assert meter.admit(1) is None
    assert meter.day_remaining() == 0

    time.now += 100

    assert meter.admit(10) is None
    assert meter.day_resets_in_s() == 86_400


def test_a_rolling_day_gives_back_what_is_older() -> None:
    time = Time()
    meter = Meter(RateLimit(day=10, rolling_s=86_400), time, lambda: 1)
    assert meter.admit(6) is None
    time.now += 3600
    assert meter.admit(4) is None
    assert meter.day_resets_in_s() == 86_400 - 3600

    time.now += 86_400 - 3600

    assert meter.day_remaining() == 6


def test_heavy_calls_have_a_smaller_place() -> None:
    meter = Meter(RateLimit(concurrency=3, heavy_concurrency=1), Time(), lambda: 1)
    assert meter.admit(1, heavy=True) is None
    assert meter.admit(1, heavy=True) is Refusal.CONCURRENCY
    assert meter.admit(1) is None
    assert meter.admit(1) is None
    assert meter.admit(1) is Refusal.CONCURRENCY

    meter.leave(heavy=True)

    assert meter.admit(1, heavy=True) is None


@pytest.mark.parametrize(
    ("limit", "code"), [({"minute": 2}, 44), ({"day": 2, "reset_in_s": 500}, 45)]
)
async def test_too_many_calls_get_429(
    zoho: Zoho, sandbox: SandboxDriver, limit: dict[str, int], code: int
) -> None:
    await sandbox.set_limits("billing", **limit)

    answers = [await zoho.ask("GET", "/billing/v1/plans") for _ in range(3)]

    assert [answer.status for answer in answers] == [200, 200, 429]
    assert answers[-1].body["code"] == code
    assert "Retry-After" not in answers[-1].headers
    assert (await sandbox.limits())["billing"]["day_used"] == 2


async def test_the_days_quota_is_in_the_headers(zoho: Zoho, sandbox: SandboxDriver) -> None:
    await sandbox.set_limits("books", day=100, reset_in_s=500)

    headers = (await zoho.ask("GET", "/books/v3/invoices")).headers

    assert headers["X-Rate-Limit-Limit"] == "100"
    assert headers["X-Rate-Limit-Remaining"] == "99"
    assert 0 < int(headers["X-Rate-Limit-Reset"]) <= 501


async def test_a_held_request_takes_its_place_in_flight(zoho: Zoho, sandbox: SandboxDriver) -> None:
    await sandbox.set_limits("billing", concurrency=1)
    await sandbox.fault("billing", "hold", times=1)
    holding = asyncio.create_task(zoho.ask("GET", "/billing/v1/plans"))
    await sandbox.wait_until_held("billing")

    refused = await zoho.ask("GET", "/billing/v1/plans")
    await sandbox.clear_faults()

    assert (refused.status, refused.body["code"]) == (429, 1070)
    assert (await holding).status == 200
    assert (await zoho.ask("GET", "/billing/v1/plans")).status == 200
