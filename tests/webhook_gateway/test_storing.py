"""Stored once, durably, before it is answered."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import SecretStr

from services.webhook_gateway.repositories.webhooks import retention
from shared.storage import pool as storage
from shared.storage.open_webhooks import CLOSE_WEBHOOKS
from shared.storage.retention import Pruner
from tests.kit.fresh_keys import fresh_key
from tests.webhook_gateway.conftest import Gateway, running, signed

INVOICE = {"organization_id": "1", "invoice": {"invoice_id": "2", "status": "paid"}}


async def test_a_body_without_an_event_id_is_new_again_once_it_was_handled(
    gateway: Gateway,
) -> None:
    for _ in range(3):
        assert await gateway.post_signed("books", INVOICE) == 200
    [first] = await gateway.passed_on()

    # The worker settles it: from now on the same body means that the state came back.
    await gateway.pool.execute(CLOSE_WEBHOOKS, [first.webhook_id])
    for _ in range(3):
        assert await gateway.post_signed("books", INVOICE) == 200

    assert len(await gateway.passed_on()) == 2
    assert gateway.count("books", "duplicate") == 4


async def test_an_event_id_is_known_for_good(gateway: Gateway) -> None:
    event = {**INVOICE, "event_id": "7", "event_type": "invoice_updated"}
    await gateway.post_signed("books", event)
    [first] = await gateway.passed_on()

    await gateway.pool.execute(CLOSE_WEBHOOKS, [first.webhook_id])
    await gateway.post_signed("books", event)

    assert len(await gateway.passed_on()) == 1


async def test_replicas_that_get_the_same_events_at_once_store_each_once(
    gateway: Gateway, migrated_url: str, index_keys: str
) -> None:
    async with (
        storage.connect(SecretStr(migrated_url), size=4) as pool,
        running(pool, index_keys) as other,
    ):
        posts = []
        for n in range(100):
            event = {"event_type": "invoice_updated", "event_id": str(n)}
            posts += [replica.post_signed("books", event) for replica in (gateway, other)]
            body = {"invoice": {"invoice_id": str(n)}}
            posts += [replica.post_signed("books", body) for replica in (other, gateway)]

        assert set(await asyncio.gather(*posts)) == {200}

    assert len(await gateway.passed_on()) == 200


async def test_what_waits_together_is_committed_together(gateway: Gateway) -> None:
    posts = [
        gateway.post_signed("billing", {"event_type": "card_expired", "event_id": str(n)})
        for n in range(300)
    ]

    assert set(await asyncio.gather(*posts)) == {200}

    assert len(await gateway.passed_on()) == 300
    commits = await gateway.pool.fetchval("SELECT count(DISTINCT xmin::text) FROM gateway.webhooks")
    assert commits < 150


async def test_one_that_cannot_be_stored_harms_no_other(own_gateway: Gateway) -> None:
    await own_gateway.pool.execute(
        """
        ALTER TABLE gateway.webhooks ADD CONSTRAINT no_poison CHECK (event <> 'poison')
        """
    )
    events = [
        {"event_type": "poison" if n == 7 else "card_expired", "event_id": str(n)}
        for n in range(50)
    ]

    statuses = await asyncio.gather(
        *[own_gateway.post_signed("billing", event) for event in events]
    )

    assert [n for n, status in enumerate(statuses) if status != 200] == [7]
    assert statuses[7] == 500
    assert len(await own_gateway.passed_on()) == 49


async def test_while_the_database_is_away_zoho_is_asked_to_come_back(
    own_gateway: Gateway, postgres_url: str
) -> None:
    assert await own_gateway.post_signed("books", INVOICE) == 200
    database = await own_gateway.pool.fetchval("SELECT current_database()")
    admin = await asyncpg.connect(postgres_url)
    try:
        await admin.execute(f'ALTER DATABASE "{database}" WITH ALLOW_CONNECTIONS false')
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database
        )
        body = json.dumps({**INVOICE, "n": 2}).encode()
        async with own_gateway.client.post(
            "/webhooks/books", data=body, headers=signed(body)
        ) as answer:
            assert answer.status == 503
            assert int(answer.headers["Retry-After"]) > 0
    finally:
        await admin.execute(f'ALTER DATABASE "{database}" WITH ALLOW_CONNECTIONS true')
        await admin.close()

    assert own_gateway.count("books", "database_unavailable") == 1
    while await own_gateway.post("books", body, signed(body)) != 200:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert len(await own_gateway.passed_on()) == 2


async def test_a_database_that_hangs_is_not_waited_for(pool: asyncpg.Pool, index_keys: str) -> None:
    async with running(pool, index_keys, stored_within_s=0.3) as gateway:
        # What is needed to seal is in memory then.
        await _until_stored(gateway, INVOICE)
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE gateway.webhooks")
            assert await gateway.post_signed("books", {**INVOICE, "n": 2}) == 503

        await _until_stored(gateway, {**INVOICE, "n": 2})


async def test_while_index_keys_rotate_what_came_before_is_still_known(
    pool: asyncpg.Pool, index_keys: str
) -> None:
    event = {"event_type": "invoice_updated", "event_id": "7"}
    async with running(pool, index_keys) as gateway:
        await gateway.post_signed("books", event)
        await gateway.post_signed("books", INVOICE)

    async with running(pool, f"{fresh_key('i2')},{index_keys}") as gateway:
        await gateway.post_signed("books", event)
        await gateway.post_signed("books", INVOICE)
        await gateway.post_signed("books", {**event, "event_id": "8"})

        assert len(await gateway.passed_on()) == 3


async def test_a_missing_key_is_no_reason_to_lose_a_webhook(
    pool: asyncpg.Pool, index_keys: str, gateway: Gateway
) -> None:
    await gateway.post_signed("books", INVOICE)  # the day's key is there now

    async with running(pool, index_keys, fresh_key("k2")) as other:
        assert await other.post_signed("books", {**INVOICE, "n": 2}) == 503

        assert other.count("books", "unknown_key") == 1


async def test_bodies_go_before_the_ids_that_tell_repetitions(gateway: Gateway) -> None:
    event = {"event_type": "invoice_updated", "event_id": "7"}
    await gateway.post_signed("books", event)
    await prune(gateway.pool, after_days=8)
    assert await gateway.pool.fetchval("SELECT count(*) FROM gateway.webhooks") == 1
    assert await gateway.pool.fetchval("SELECT count(body) FROM gateway.webhooks") == 0
    await gateway.post_signed("books", event)
    assert gateway.count("books", "duplicate") == 1

    await prune(gateway.pool, after_days=191)

    assert await gateway.pool.fetchval("SELECT count(*) FROM gateway.webhooks") == 0


async def prune(pool: asyncpg.Pool, *, after_days: int) -> None:
    """As the pruner does so many days later."""
    later = datetime.now(UTC) + timedelta(days=after_days)
    await Pruner(pool, retention(), clock=lambda: later).prune()


@pytest.mark.parametrize("message_id", [str(uuid4()), uuid4()])
async def test_closing_what_is_not_open_changes_nothing(
    pool: asyncpg.Pool, message_id: str | UUID
) -> None:
    assert await pool.execute(CLOSE_WEBHOOKS, [message_id]) == "DELETE 0"


async def _until_stored(gateway: Gateway, body: dict[str, object]) -> None:
    """Post again, as Zoho does, for as long as it is too slow here."""
    while await gateway.post_signed("books", body) != 200:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
