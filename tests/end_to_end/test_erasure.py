"""Users are erased while everything of theirs is under way: nothing is left, and one receipt."""

from __future__ import annotations

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.kit.erasure_storm import ErasureStorm, schedules
from tests.kit.whole_system import more_replicas

SEED, USERS = 7, 8


@pytest.mark.timeout(300)
async def test_nothing_is_left_of_users_erased_in_the_middle_of_everything(
    stack: Stack, stage: SystemDriver
) -> None:
    users = schedules(SEED, USERS)
    storm = ErasureStorm(stack, stage, SEED)

    async with more_replicas(stack, ["billing-worker"]):
        async with (
            storm.faults(every_s=0.5),
            storm.kills([("billing-worker", 1), ("desk-worker", 1)], every_s=3.0),
        ):
            await storm.run(users, linger_s=4.0)
        await storm.until_erased(users)
        await storm.settled()

    assert await storm.left_at_zoho(users) == []
    assert await storm.left_here(users) == []
    assert [len(storm.receipts(user)) for user in users] == [1] * USERS
