"""Test that what is recorded late is recorded all the same."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from shared.zoho.quota.quota import Quota, QuotaFeedback
from tests.shared.zoho.permits_taken import OPEN, PATIENT_S, quota_of, take


def impatient_quota(pool: asyncpg.Pool) -> Quota:
    """One whose process stands still just when the ledger answers."""
    return quota_of(pool, replace(OPEN, in_flight=1), longest_wait_s=PATIENT_S, note_within_s=0.0)


@pytest.mark.parametrize("written", [True, False])
async def test_the_place_of_a_call_is_free_again(ledger_pool: asyncpg.Pool, written: bool) -> None:
    quota = impatient_quota(ledger_pool)
    permit = await take(quota)

    if written:
        await quota.release(permit, QuotaFeedback())
    else:
        await quota.give_back(permit)

    assert await take(quota)


async def test_what_a_cancelled_caller_leaves_behind(ledger_pool: asyncpg.Pool) -> None:
    quota = impatient_quota(ledger_pool)
    releasing = asyncio.create_task(quota.release(await take(quota), QuotaFeedback()))
    await asyncio.sleep(0)
    releasing.cancel()

    assert await take(quota)
