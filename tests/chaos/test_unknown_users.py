"""Interactions of users who never signed up are looked at once each, and hold up nobody."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Self

import pytest

from deploy.local.stack import Stack
from services.crm_worker import app
from services.crm_worker.settings import Settings
from tests.chaos import upheavals
from tests.chaos.accounts import Published
from tests.chaos.hearing import Hearing
from tests.chaos.inbox_rows import fetch, leases_seen, looks, until_count
from tests.chaos.publisher import publish_in_turns
from tests.chaos.upheavals import Publishing, Upheaval
from tests.chaos.zoho_records import notes_by_user, once_there
from tests.kit.people import sign_up_of
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import watched
from tests.kit.whole_system import all_published, more_replicas, stage_of

INTERACTION = "interaction.recorded.v1"
WORKERS = ("billing-worker", "crm-worker")

WAITING = "crm.inbox WHERE line LIKE 'user:stranger-%' AND state <> 'in_line'"
# What a replica has taken from the queue and leased may be looked at again, each time it is killed.
MOST_IN_HAND = upheavals.KILLS * (128 + 32)
_EACH = ("asked", "thanked")


@pytest.mark.parametrize("count", [1000, pytest.param(20_000, marks=pytest.mark.chaos)])
async def test_many_who_wait_are_not_asked_again_and_again(
    around: Surroundings, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    async with watched(
        around,
        "crm-worker",
        app.main,
        Settings,
        queue="crm-worker.intake.events",
        crm_flush_every_s=0.1,
    ) as worker:
        worker.stage.patience_s = 20 + count / 100
        for number in range(count):
            body = {"user_id": f"u-{number}", "interaction_id": f"i-{number}"}
            await worker.stage.publish(INTERACTION, {**body, "title": "Asked", "content": "Why?"})
        await worker.until(
            lambda seen: seen.value("messages_settled_total", routing_key=INTERACTION) >= count,
            "a look at each",
        )

        await worker.stage.publish("user.signed_up.v1", sign_up_of("known"))
        await worker.stage.event("contact.synced.v1", user_id="known")
        # The gauge is measured every few seconds: by then each had time for many more looks.
        seen = await worker.until(
            lambda seen: seen.value("messages_waiting", reason="fact") == count, "all of them wait"
        )

        assert seen.by("messages_settled_total", "settlement", routing_key=INTERACTION) == {
            "wait_for_fact": count
        }
    about_them = [line for line in capsys.readouterr().out.splitlines() if INTERACTION in line]
    assert len(about_them) == count


@dataclass(frozen=True)
class Strangers:
    """Users of whom only interactions come, two of each. The late ones sign up in the end."""

    users: list[str]
    late: list[str]

    @classmethod
    def of(cls, messages: int, *, late: int) -> Self:
        run = uuid.uuid4().hex[:8]
        users = [f"stranger-{run}-{number}" for number in range(messages // 2)]
        return cls(users, users[:late])

    def interactions(self) -> list[Published]:
        """The first ones of all users, then the second ones."""
        return [_interaction(user, which) for which in _EACH for user in self.users]


def _interaction(user: str, which: str) -> Published:
    body = {"user_id": user, "interaction_id": f"{user}-{which}", "title": which}
    return Published(INTERACTION, {**body, "content": "Why?"})


@pytest.mark.parametrize(
    ("replicas", "upheaval"), [(1, upheavals.killed), (3, upheavals.postgresql_away)]
)
async def test_a_few_strangers_wait_through_upheavals_and_hold_up_nobody(
    stack: Stack, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, upheaval, Strangers.of(400, late=5), replicas)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("replicas", "messages", "upheaval"),
    [
        (1, 2_000, upheavals.postgresql_away),
        (1, 2_000, upheavals.rabbitmq_restarts),
        (1, 2_000, upheavals.hanging),
        (3, 2_000, upheavals.quiet),
        (3, 2_000, upheavals.rabbitmq_restarts),
        (3, 20_000, upheavals.killed),
        (3, 2_000, upheavals.hanging),
    ],
)
async def test_strangers_wait_through_upheavals_and_hold_up_nobody(
    stack: Stack, replicas: int, messages: int, upheaval: Upheaval
) -> None:
    await _through(stack, upheaval, Strangers.of(messages, late=50), replicas)


async def _through(stack: Stack, upheaval: Upheaval, strangers: Strangers, replicas: int) -> None:
    """Most interactions wait. During an upheaval the others come, a sign-up, and the late ones."""
    known = f"known-{uuid.uuid4().hex[:12]}"
    interactions = strangers.interactions()
    most = len(interactions) * 9 // 10
    sign_ups = [
        Published("user.signed_up.v1", sign_up_of(user)) for user in (known, *strangers.late)
    ]
    try:
        async with (
            Hearing(stack, "command.failed.v1") as failures,
            leases_seen(stack),
            more_replicas(stack, WORKERS, count=replicas),
        ):
            await publish_in_turns(stack, [interactions[:most]], Publishing())
            await until_count(stack, WAITING, expected=most)
            assert await looks(stack, WAITING) == {1: most}

            publishing = Publishing()
            async with upheaval(stack, [(worker, 1) for worker in WORKERS], publishing):
                await publish_in_turns(stack, [interactions[most:] + sign_ups], publishing)
            async with stage_of(stack) as after:
                await once_there(after, [known, *strangers.late])
                notes = await notes_by_user(after, strangers.late, each=len(_EACH))
            still_waiting = len(interactions) - len(_EACH) * len(strangers.late)
            await until_count(stack, WAITING, expected=still_waiting)
            looked = await looks(stack, WAITING)
            await all_published(stack)
            refused = await failures.counts(lambda event: event["code"], at_least=())
    finally:
        await fetch(stack, f"DELETE FROM {WAITING}")  # noqa: S608

    print(f"\nlooks, of {still_waiting}: {dict(looked)}")
    assert notes == {user: [f"{user}-{which}" for which in _EACH] for user in strangers.late}
    assert sum((times - 1) * number for times, number in looked.items()) <= MOST_IN_HAND
    assert not refused
