"""Users are erased under kills, faults and an outage of Zoho's: the end is always the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.chaos.effect_gates import Gates, gates_of
from tests.kit.erased_life import ErasedLife
from tests.kit.erasure_storm import WORKERS, ErasureStorm, Schedule, schedules
from tests.kit.leak_search import Needle, search
from tests.kit.whole_system import all_published, more_replicas

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

SEED, USERS = 20_260, 200
AWAY_S = 20.0
# What an erasure changes at Zoho, by the worker that does it: product and operation.
CHANGES: Final = {
    "billing-worker": (
        ("billing", "cancel_subscription"),
        ("billing", "delete_card"),
        ("billing", "update_customer"),
        ("billing", "mark_customer_as_inactive"),
        ("books", "update_contact"),
        ("books", "mark_contact_inactive"),
    ),
    "crm-worker": (("crm", "delete_notes"), ("crm", "remove_tags"), ("crm", "update_record")),
    "desk-worker": (
        ("desk", "delete_comment"),
        ("desk", "update_ticket"),
        ("desk", "trash_tickets"),
        ("desk", "update_contact"),
    ),
}
# Before Zoho does it, and when it has done it and not answered.
MOMENTS: Final = ("hold", "hold_after")
# What it changes here: the tombstone, the state of the parts, the key.
ROWS: Final = ("tombstone", "part", "key")


@pytest.fixture
async def gates(stack: Stack) -> AsyncIterator[Gates]:
    async with gates_of(stack) as opened:
        yield opened


async def test_two_hundred_schedules_end_in_the_same_way(stack: Stack, stage: SystemDriver) -> None:
    stage.patience_s = 400.0
    users = schedules(SEED, USERS)
    storm = ErasureStorm(stack, stage, SEED)
    replicas = [(worker, n) for worker in WORKERS for n in (1, 2)]

    async def desk_away() -> None:
        await asyncio.sleep(5)
        await stage.sandbox.fault("desk", "status:503")
        await asyncio.sleep(AWAY_S)

    async with more_replicas(stack, WORKERS):
        async with storm.faults(every_s=0.3), storm.kills(replicas, every_s=2.0):
            away = asyncio.create_task(desk_away())
            await storm.run(users, linger_s=30.0)
            await away
        await storm.until_erased(users)
        await storm.settled()

    assert await storm.left_at_zoho(users) == []
    assert await storm.left_here(users) == []
    assert [len(storm.receipts(user)) for user in users] == [1] * USERS
    needles = [Needle("mark of a user", user.mark) for user in users]
    folders = [Path(stack.env["POSTGRES_DATA"]), Path(stack.env["LOG_DIR"])]
    assert search(folders, needles, integers=False) == []


async def test_a_kill_at_any_step_changes_nothing_of_the_end(
    stack: Stack, stage: SystemDriver, gates: Gates
) -> None:
    stage.patience_s = 180.0
    steps = {
        worker: [(moment, *change) for change in changes for moment in MOMENTS]
        for worker, changes in CHANGES.items()
    }
    lives = {worker: [ErasedLife() for _ in of_worker] for worker, of_worker in steps.items()}
    of_rows = [ErasedLife() for _ in ROWS]
    everybody = [*(life for each in lives.values() for life in each), *of_rows]
    await asyncio.gather(*(life.live(stage) for life in everybody))

    async def kill_at_each_change(worker: str) -> None:
        for life, (moment, product, operation) in zip(lives[worker], steps[worker], strict=True):
            await stage.sandbox.fault(product, moment, operation=operation, times=1)
            await stage.publish("user.erasure_requested.v1", {"user_id": life.user_id})
            await stage.sandbox.wait_until_held(product, operation)
            killed = await asyncio.to_thread(stack.kill, worker)
            await stage.sandbox.clear_faults()
            await asyncio.to_thread(stack.wait_ready, worker, not_pid=killed)

    for worker in WORKERS:
        await kill_at_each_change(worker)
    for life, row in zip(of_rows, ROWS, strict=True):
        await gates.close(row, [life.user_id, f"user:{life.user_id}"])
        await stage.publish("user.erasure_requested.v1", {"user_id": life.user_id})
        await gates.until_somebody_waits()
        killed = {worker: stack.kill(worker) for worker in WORKERS}
        await gates.cut_off()
        for worker, pid in killed.items():
            await asyncio.to_thread(stack.wait_ready, worker, not_pid=pid)

    for life in everybody:
        await stage.event("user.erased.v1", user_id=life.user_id)
    await all_published(stack)
    await stage.hear()
    storm, users = ErasureStorm(stack, stage, SEED), [_marked(life) for life in everybody]
    assert await storm.left_at_zoho(users) == []
    assert await storm.left_here(users) == []
    assert [len(storm.receipts(user)) for user in users] == [1] * len(users)


def _marked(life: ErasedLife) -> Schedule:
    """The user as `ErasureStorm` looks for one."""
    return Schedule(
        user_id=life.user_id,
        mark=life.email_word,
        settled=True,
        commands=[],
        late=[],
        erasures=1,
        gap_s=0,
    )
