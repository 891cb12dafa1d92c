"""More dead letters than a queue can show are listed, replayed, discarded through upheavals."""

from __future__ import annotations

import json
import signal
import uuid
from dataclasses import dataclass
from itertools import chain
from typing import Self

import asyncpg
import pytest
from pydantic import SecretStr

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from shared.crypto.envelope import DataKeys, UserKey, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.handling.routes import MessagePriority
from shared.messaging.inbox.dead_letters import DeadLetter, DeadLetters, dead_letter_context
from shared.storage import pool as pools
from tests.chaos import upheavals
from tests.chaos.inbox_rows import arrivals, arrivals_seen, count, fetch
from tests.chaos.operator_command import zoho_relay
from tests.chaos.upheavals import Publishing, Upheaval
from tests.chaos.zoho_records import notes_by_user, once_there
from tests.kit.people import sign_up_of
from tests.kit.whole_system import more_replicas, stage_of

SERVICE, INTERACTION = "crm-worker", "interaction.recorded.v1"

_WAITING = "crm.dead_letters WHERE state = 'waiting' AND code = $1"

# Nobody opens their bodies.
_OLDER = """
    INSERT INTO crm.dead_letters
        (arrived, org, line, exchange, routing_key, route, message_id, priority, body_mac, code,
         reason, attempts, headers, body, given_up_at)
    SELECT nextval('crm.arrivals'), 'default', 'user:nobody', 'zoho.commands', $1, $1,
           $2 || '-' || n, 1, '', $2, 'no', 1, '{}', '', clock_timestamp()
    FROM generate_series(1, $3::bigint) n
    """


@dataclass(frozen=True)
class Given:
    """The dead letters of one test, the oldest first. Each kind has a code that no others have.

    The wanted ones are interactions of a few users, and lie behind all the others.
    """

    run: str
    kept: int
    unwanted: int
    users: list[str]
    wanted_of_each: int

    @classmethod
    def of(cls, *, kept: int, unwanted: int, users: int, wanted_of_each: int) -> Self:
        run = uuid.uuid4().hex[:8]
        known = [f"known-{run}-{number}" for number in range(users)]
        return cls(run, kept, unwanted, known, wanted_of_each)

    def code(self, kind: str) -> str:
        return f"{kind}_{self.run}"

    def wanted_of(self, user: str) -> list[str]:
        return [f"{user}-{number}" for number in range(self.wanted_of_each)]

    @property
    def wanted(self) -> dict[str, str]:
        """By message_id, their users. The first ones of all users come first."""
        by_user = [[(each, user) for each in self.wanted_of(user)] for user in self.users]
        return dict(chain.from_iterable(zip(*by_user, strict=True)))

    @property
    def counts(self) -> dict[str, int]:
        return {
            self.code("kept"): self.kept,
            self.code("unwanted"): self.unwanted,
            self.code("wanted"): len(self.wanted),
        }

    @property
    def ids(self) -> list[str]:
        """Their message_ids, in their order."""
        older = ((self.code("kept"), self.kept), (self.code("unwanted"), self.unwanted))
        return [*(f"{code}-{n}" for code, many in older for n in range(1, many + 1)), *self.wanted]


@pytest.mark.parametrize(
    ("replicas", "upheaval"), [(1, upheavals.killed), (3, upheavals.postgresql_restarts)]
)
async def test_some_dead_letters_are_replayed_and_discarded_through_upheavals(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    given = Given.of(kept=100, unwanted=300, users=5, wanted_of_each=60)

    await _through(stack, stage, upheaval, given, replicas)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("replicas", "unwanted", "kept", "upheaval"),
    [
        (1, 3_000, 67_000, upheavals.postgresql_restarts),
        (1, 1_000, 1_000, upheavals.rabbitmq_restarts),
        (1, 1_000, 1_000, upheavals.frozen),
        (3, 66_000, 4_000, upheavals.killed),
        (3, 1_000, 1_000, upheavals.rabbitmq_restarts),
        (3, 1_000, 1_000, upheavals.frozen),
    ],
)
async def test_any_number_of_dead_letters_is_replayed_and_discarded_through_upheavals(
    stack: Stack,
    stage: SystemDriver,
    replicas: int,
    unwanted: int,
    kept: int,
    upheaval: Upheaval,
) -> None:
    given = Given.of(kept=kept, unwanted=unwanted, users=20, wanted_of_each=50)

    await _through(stack, stage, upheaval, given, replicas)


async def _through(
    stack: Stack, stage: SystemDriver, upheaval: Upheaval, given: Given, replicas: int
) -> None:
    """Replay the wanted and discard the unwanted. What is kept, and all counts, stay what they are.

    Each command is killed once and disturbed once, and then run again until nothing is left.
    """
    for user in given.users:
        await stage.publish("user.signed_up.v1", sign_up_of(user))
    await once_there(stage, given.users)
    try:
        await _give(stack, given)
        assert await _listed(stack, given) == given.counts
        assert await _paged(stack, given) == given.ids
        async with arrivals_seen(stack), more_replicas(stack, (SERVICE,), count=replicas):
            await _do(stack, upheaval, "replay", given.code("wanted"))
            await _do(stack, upheaval, "discard", given.code("unwanted"), "--yes")
            async with stage_of(stack) as after:  # the first one's connection may be gone
                notes = await notes_by_user(after, given.users, each=given.wanted_of_each)
            replayed = await arrivals(stack)
        left = await _listed(stack, given)
        ends = await _ends(stack, given)
    finally:
        await fetch(stack, "DELETE FROM crm.dead_letters WHERE code = ANY ($1)", [*given.counts])

    assert notes == {user: given.wanted_of(user) for user in given.users}
    assert {id_: replayed[id_] for id_ in given.wanted} == dict.fromkeys(given.wanted, 1)
    assert left == {given.code("kept"): given.kept} if given.kept else left == {}
    assert ends == {
        (given.code("kept"), "waiting"): given.kept,
        (given.code("unwanted"), "discarded"): given.unwanted,
        (given.code("wanted"), "replayed"): len(given.wanted),
    }


async def _do(stack: Stack, upheaval: Upheaval, verb: str, code: str, *options: str) -> None:
    """Replay or discard all of this code, by a command that is killed, disturbed, and run again."""
    command = ("dead-letters", verb, "--code", code, *options)
    killed = await zoho_relay(stack, *command, at_progress=lambda process: process.kill())
    assert killed.code == -signal.SIGKILL
    publishing = Publishing()
    async with upheaval(stack, [(SERVICE, 1)], publishing):
        disturbed = await zoho_relay(
            stack, *command, at_progress=lambda _: publishing.half_done.set()
        )
        publishing.half_done.set()
        publishing.done.set()
    runs = [killed, disturbed]
    while await count(stack, _WAITING, code):
        runs.append(await zoho_relay(stack, *command))
    print(f"\n{verb}: ended with {[run.code for run in runs]}")


async def _give(stack: Stack, given: Given) -> None:
    for kind, number in (("kept", given.kept), ("unwanted", given.unwanted)):
        await fetch(stack, _OLDER, INTERACTION, given.code(kind), number)
    keys = KeyRing.parse(stack.settings["ENCRYPTION_KEYS"])
    async with pools.connect(SecretStr(stack.env["DATABASE_URL"]), size=2) as pool:
        vault = Vault(DataKeys(pool, keys))
        letters = [
            await _wanted(pool, vault, user, message_id, given.code("wanted"))
            for message_id, user in given.wanted.items()
        ]
        async with pool.acquire() as connection, connection.transaction():
            await DeadLetters(pool, "crm", vault).insert(connection, letters)


async def _wanted(
    pool: asyncpg.Pool, vault: Vault, user: str, message_id: str, code: str
) -> DeadLetter:
    arrived = await pool.fetchval("SELECT nextval('crm.arrivals')")
    body = {"user_id": user, "interaction_id": message_id, "title": "Asked", "content": "Why?"}
    return DeadLetter(
        arrived=arrived,
        org="default",
        line=f"user:{user}",
        exchange="zoho.commands",
        routing_key=INTERACTION,
        route=INTERACTION,
        message_id=message_id,
        priority=MessagePriority.COMMANDS,
        code=code,
        reason="it is wanted after all",
        attempts=1,
        correlation_id=None,
        reply_to=None,
        traceparent=None,
        sent_at=None,
        headers={},
        body=await vault.seal_bytes(
            UserKey("default", user), json.dumps(body).encode(), dead_letter_context(arrived)
        ),
        body_mac=b"",
    )


async def _listed(stack: Stack, given: Given) -> dict[str, int]:
    """How many of ours `dead-letters list` counts, by code."""
    listed = await zoho_relay(stack, "dead-letters", "list", "--json")
    counts = {row["code"]: row["messages"] for row in json.loads(listed.out)}
    return {code: counts[code] for code in given.counts if code in counts}


async def _paged(stack: Stack, given: Given) -> list[str]:
    """The message_ids of ours, page by page."""
    ids: list[str] = []
    page = ("dead-letters", "list", "--each", "--json", "--service", SERVICE, "--limit", "25000")
    more: list[str] = []
    while True:
        listed = await zoho_relay(stack, *page, *more)
        ids += [row["message_id"] for row in json.loads(listed.out) if row["code"] in given.counts]
        if not listed.err:
            return ids
        more = listed.err.split()[-2:]


async def _ends(stack: Stack, given: Given) -> dict[tuple[str, str], int]:
    """How many of each code are in each state."""
    rows = await fetch(
        stack,
        "SELECT code, state, count(*) FROM crm.dead_letters WHERE code = ANY ($1) GROUP BY 1, 2",
        [*given.counts],
    )
    return {(code, state): number for code, state, number in rows}
