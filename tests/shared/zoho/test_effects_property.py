"""Test at random that an effect is made once, whatever happens to its deliveries, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import asyncpg
import pytest
from pydantic import SecretStr

from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.errors import PermanentError
from shared.observability.metrics import Metrics
from shared.storage import pool as storage
from tests.kit.fresh_keys import fresh_key
from tests.shared.zoho.effects_lives import FATES, GATES, Life

CASES = 260
AT_ONCE = 12


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    async with storage.connect(SecretStr(database_url), size=8) as opened:
        yield opened


async def test_what_is_created_is_created_once_whatever_befalls_its_deliveries(
    pool: asyncpg.Pool,
) -> None:
    lives = await _lived(pool, money=False)

    for life in lives:
        ids = [made for made, _ in life.zoho.made]
        assert len(ids) == 1, _story(life)
        assert {outcome for outcome in life.outcomes if isinstance(outcome, str)} == set(ids), (
            _story(life)
        )
    assert not await _open(pool)


async def test_money_moves_once_or_not_at_all_and_then_we_say_so(pool: asyncpg.Pool) -> None:
    lives = await _lived(pool, money=True)

    for life in lives:
        ids = [made for made, _ in life.zoho.made]
        assert len(ids) <= 1, _story(life)
        results = {outcome for outcome in life.outcomes if isinstance(outcome, str)}
        if life.ended_unknown:
            assert results == set(), _story(life)
            assert _may_have_been_lost(life), _story(life)
        else:
            assert results == set(ids) != set(), _story(life)
    unknown = sum(life.ended_unknown for life in lives)
    assert 0 < unknown < CASES / 2, "the schedules say nothing about the rules of money"
    assert not await _open(pool)


async def _lived(pool: asyncpg.Pool, *, money: bool) -> Sequence[Life]:
    vault = Vault(DataKeys(pool, KeyRing.parse(fresh_key("k1"))))
    metrics = Metrics("test")
    lives = [Life(pool, vault, metrics, seed, money) for seed in range(CASES)]
    turn = asyncio.Semaphore(AT_ONCE)

    async def live(life: Life) -> None:
        async with turn:
            await life.live()

    await asyncio.gather(*map(live, lives))
    befell = sum((life.befell for life in lives), Counter[str]())
    # The schedules reach everything that can happen, or they prove nothing.
    missed = {*FATES, *(f"killed {gate}" for gate in GATES), "together"} - set(befell)
    assert not missed
    print(f"\n{CASES} lives: {dict(befell.most_common())}")
    return lives


def _may_have_been_lost(life: Life) -> bool:
    """Whether anything befell it after which nobody can know what became of the charge."""
    return any(
        what.startswith(("killed", "lost", "unreadable", "delivered to another"))
        for what in life.story
    )


async def _open(pool: asyncpg.Pool) -> int:
    count: int = await pool.fetchval("SELECT count(*) FROM relay.effects WHERE state = 'intended'")
    return count


def _story(life: Life) -> str:
    outcomes = [one if isinstance(one, PermanentError) else type(one) for one in life.outcomes]
    return f"seed {life.seed}: {len(life.zoho.made)} made; {life.story}; {outcomes}"
