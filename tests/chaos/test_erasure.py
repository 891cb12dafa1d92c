"""Two hundred users are erased in random schedules, under kills, faults and an outage of Zoho's."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.kit.erasure_storm import WORKERS, ErasureStorm, schedules
from tests.kit.leak_search import Needle, search
from tests.kit.whole_system import more_replicas

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

SEED, USERS = 20_260, 200
AWAY_S = 20.0


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
