"""What began before a user asked to be forgotten commits nothing afterwards."""

from __future__ import annotations

import asyncio

import pytest

from shared.contracts.commands import UserUpdated
from shared.crypto.envelope import UserKey
from shared.erasing.erasures import Erasures
from shared.errors import PermanentError
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.outbox.committer import StaleRead
from shared.messaging.service.messaging import Messaging
from tests.shared.messaging.conftest import Bench, Noted, named

FORGET = "INSERT INTO relay.tombstones (org, user_id) VALUES ('default', $1)"
USER = UserKey("default", "u1")


async def _end_part(service: Messaging, erasures: Erasures) -> None:
    """End Billing's part, again while transactions of other databases of the server are older."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with service.committer.begin("default") as work:
                    erasures.end_parts(work, USER, "test", ["billing"])
            except StaleRead:
                await asyncio.sleep(0.05)
            else:
                return


async def test_a_poller_that_read_before_announces_nothing(bench: Bench) -> None:
    service = await bench.start()

    work = UnitOfWork(org="default")
    work.publish(Noted(user_id="u1", note="read before"))
    await bench.parts.pool.execute(FORGET, "u1")
    with pytest.raises(PermanentError) as refused:
        await service.committer.commit(work)

    assert refused.value.code == "erased"
    assert await bench.parts.pool.fetchval("SELECT count(*) FROM test.outbox") == 0


async def test_a_handler_of_another_line_ends_as_erased_and_its_neighbours_go_on(
    bench: Bench,
) -> None:
    reading, forgotten = asyncio.Event(), asyncio.Event()

    async def about_another(message: UserUpdated, work: UnitOfWork) -> None:
        reading.set()
        await forgotten.wait()
        work.publish(Noted(user_id=message.full_name or "", note="late"))

    await bench.start({"user.updated.v1": about_another})
    failed = await bench.listen(key="command.failed.v1")
    noted = await bench.listen(key="noted.v1")
    await bench.send(named("u1", "line-1"), message_id="about u1")
    await bench.send(named("u2", "line-2"), message_id="about u2")
    await reading.wait()
    await bench.parts.pool.execute(FORGET, "u1")
    forgotten.set()

    refusal = await failed.next_body()
    assert (refusal["message_id"], refusal["code"]) == ("about u1", "erased")
    assert (await noted.next_body())["user_id"] == "u2"
    assert await bench.dead_letters() == []


async def test_the_rows_go_only_when_no_older_transaction_is_open(bench: Bench) -> None:
    service = await bench.start()
    pool = bench.parts.pool
    erasures = Erasures(pool, bench.parts.vault)
    async with pool.acquire() as older:
        transaction = older.transaction()
        await transaction.start()
        await older.execute("SELECT pg_current_xact_id()")  # it looked before the tombstone
        await pool.execute(FORGET, "u1")
        await erasures.begin(USER, ["billing"], quiet_s=0.0)

        with pytest.raises(StaleRead):
            async with service.committer.begin("default") as work:
                erasures.end_parts(work, USER, "test", ["billing"])
        await transaction.commit()
    await _end_part(service, erasures)

    progress = await erasures.progress(USER)
    assert progress is not None
    assert [part.product for part in progress.parts] == ["billing"]


async def test_one_of_two_who_end_an_erasure_does(bench: Bench) -> None:
    service = await bench.start()
    pool = bench.parts.pool
    erasures = Erasures(pool, bench.parts.vault)
    await erasures.take_part("billing-worker", ["billing"])
    await bench.parts.vault.seal(USER, "Ada", "a test")
    await pool.execute(FORGET, "u1")
    await erasures.begin(USER, ["billing"], quiet_s=0.0)

    with pytest.raises(StaleRead):  # its part has not ended
        async with service.committer.begin("default") as work:
            erasures.end(work, USER)
    await _end_part(service, erasures)
    ends = []
    for _ in range(2):
        try:
            async with service.committer.begin("default") as work:
                erasures.end(work, USER)
            ends.append("ended")
        except StaleRead:
            ends.append("another did")

    assert ends == ["ended", "another did"]
    with pytest.raises(PermanentError) as erased:
        await bench.parts.vault.seal(USER, "Ada", "a test")
    assert erased.value.code == "erased"


async def test_an_effect_of_an_erased_user_is_not_intended(bench: Bench) -> None:
    await bench.start()
    await bench.parts.pool.execute(FORGET, "u1")

    with pytest.raises(Exception, match="forgotten"):
        await bench.parts.pool.execute(
            """
            INSERT INTO relay.effects
                (org, operation, business_id, product, owner, write_until, look_after)
            VALUES ('default', 'create_customer', 'u1', 'billing', 'u1', now(), now())
            """
        )


async def test_a_product_that_a_service_no_longer_has_is_not_waited_for(bench: Bench) -> None:
    await bench.start()
    erasures = Erasures(bench.parts.pool, bench.parts.vault)
    await erasures.take_part("billing-worker", ["billing", "books"])
    await erasures.take_part("crm-worker", ["crm"])

    await erasures.take_part("billing-worker", ["billing"])

    rows = await bench.parts.pool.fetch("SELECT product FROM relay.erasing_products")
    assert {row["product"] for row in rows} == {"billing", "crm"}
