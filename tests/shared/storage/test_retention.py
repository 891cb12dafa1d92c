import asyncio

import asyncpg
import pytest

from shared.storage.retention import Pruner, Rule


@pytest.fixture
async def letters(pool: asyncpg.Pool) -> None:
    await pool.execute(
        """
        CREATE TABLE letters (id int PRIMARY KEY, body text, at timestamptz NOT NULL);
        INSERT INTO letters SELECT n, 'text', now() - interval '1 hour' * n
        FROM generate_series(1, 100) AS n
        """
    )


@pytest.mark.usefixtures("letters")
async def test_only_what_is_old_enough_goes(pool: asyncpg.Pool) -> None:
    rule = Rule("letters", "at < $1", age_s=24.5 * 3600, batch=7)

    assert await Pruner(pool, [rule]).prune() == 76

    assert await pool.fetchval("SELECT max(id) FROM letters") == 24


@pytest.mark.usefixtures("letters")
async def test_a_body_can_go_before_its_row(pool: asyncpg.Pool) -> None:
    rule = Rule(
        "letters", "body IS NOT NULL AND at < $1", age_s=24.5 * 3600, clear="body = NULL", batch=7
    )
    pruner = Pruner(pool, [rule])

    assert await pruner.prune() == 76
    assert await pruner.prune() == 0

    assert await pool.fetchval("SELECT count(*) FROM letters") == 100
    assert await pool.fetchval("SELECT count(body) FROM letters") == 24


@pytest.mark.usefixtures("letters")
async def test_a_pass_is_bounded_and_the_next_one_goes_on(pool: asyncpg.Pool) -> None:
    pruner = Pruner(pool, [Rule("letters", "at < $1", age_s=0, batch=2)])

    passes = [await pruner.prune() for _ in range(4)]

    assert passes == [40, 40, 20, 0]


@pytest.mark.usefixtures("letters")
async def test_replicas_that_prune_together_do_not_wait_for_each_other(pool: asyncpg.Pool) -> None:
    rule = Rule("letters", "at < $1", age_s=0, batch=5)

    counts = await asyncio.gather(*[Pruner(pool, [rule]).prune() for _ in range(4)])

    assert sum(counts) == 100
    assert await pool.fetchval("SELECT count(*) FROM letters") == 0


@pytest.mark.usefixtures("letters")
async def test_the_background_pruner_tells_what_it_did_and_survives_a_failing_rule(
    pool: asyncpg.Pool,
) -> None:
    seen: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
    rules = [Rule("letters", "at < $1", age_s=0)]
    await pool.execute("ALTER TABLE letters RENAME TO away")

    async with Pruner(
        pool, rules, every_s=0.01, observe=lambda rule, count: seen.put_nowait((rule.table, count))
    ):
        await pool.execute("ALTER TABLE away RENAME TO letters")
        assert await seen.get() == ("letters", 100)
