"""Random commands, facts that never come, refusals, pauses and clocks: every wait ends by its rule.

In every line the first message is due, leased, has an end, or belongs to a paused product. Between
the commands replicas die, the ledger refuses calls, breakers open, operators intervene, and a user
asks to be forgotten.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.inbox.acceptance import AcceptResult
from shared.messaging.inbox.arrived_message import ArrivedMessage, WaitsForRelease
from shared.messaging.inbox.inspection import GIVEN_UP_BY_HAND, InboxInspection
from shared.messaging.inbox.leasing_at_once import LeaseTerms
from shared.messaging.inbox.lines import (
    DueState,
    LeasedMessage,
    Lines,
    MessageOutcome,
    PutBackResult,
    WaitKind,
)
from shared.messaging.inbox.waits import WaitEnds
from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.reservations import limits_document
from tests.shared.messaging.inbox.conftest import ROUTE, Inbox, database, message

USERS: Final = ["u1", "u2", "u3"]
INVOICES: Final = ["i1", "i2"]
FACTS: Final = [("user", "u1"), ("user", "u2"), ("invoice", "i1"), ("contact", "never")]
END_S: Final = {"time": 3000.0, "fact": 400.0, "look": 900.0}
LEASE_S: Final = 10.0
RELEASE_S: Final = 500.0
UNKNOWN: Final = "new.v2"
LONGEST: Final = 2  # times its end
PAUSED: Final = ["user", "invoice"]
ERASED_USER: Final = "u3"
CALLS: Final = {ROUTE: {"billing": 1}, "other.v1": {}}
FEW, MANY = 3, 1_000_000  # calls a minute

# What no sequence of steps may leave behind, each as rows that break the rule.
BROKEN: Final = {
    "a line without its message, or a message without its line": """
        SELECT * FROM (SELECT DISTINCT org, line FROM test.inbox WHERE state = 'in_line') m
        FULL JOIN test.lines l USING (org, line)
        WHERE l.head IS NULL OR NOT EXISTS (SELECT FROM test.inbox o
            WHERE o.org = l.org AND o.line = l.line AND o.state = 'in_line')
    """,
    "a head that is not the first of its line": """
        SELECT * FROM test.lines l WHERE (l.head, l.head_place, l.head_route) <> (
            SELECT o.arrived, o.place, o.route FROM test.inbox o
            WHERE o.org = l.org AND o.line = l.line AND o.state = 'in_line'
            ORDER BY o.place, o.arrived LIMIT 1)
    """,
    "a priority that is not the highest of its line": """
        SELECT * FROM test.lines l WHERE l.priority <> (
            SELECT min(o.priority) FROM test.inbox o
            WHERE o.org = l.org AND o.line = l.line AND o.state = 'in_line')
    """,
    "a head that is neither due, nor leased, nor has a time": """
        SELECT * FROM test.lines l JOIN test.inbox o ON o.arrived = l.head
        WHERE l.state = 'empty' OR l.due_at <> o.due_at OR (l.state = 'later' AND o.wait IS NULL)
           OR (o.due_at > $1 AND l.state = 'due' AND l.leased_arrived IS NULL)
           OR (o.wait IN ('time', 'look') AND o.end_s IS NULL)
           OR (o.wait = 'person' AND o.product IS NULL)
    """,
    "a message off its line without an end": """
        SELECT * FROM test.inbox o WHERE state <> 'in_line' AND (o.end_s IS NULL
            OR (o.state = 'fact' AND (o.check_at IS NULL OR o.fact_kind IS NULL)))
    """,
    "a lease of no message, or of one that is off its line": """
        SELECT * FROM test.lines l
        LEFT JOIN test.inbox o ON o.arrived = l.leased_arrived AND o.line = l.line
        WHERE l.leased_arrived IS NOT NULL AND o.state IS DISTINCT FROM 'in_line'
    """,
    "a message left in the line of a name that belongs to another line": """
        SELECT * FROM test.inbox o
        JOIN test.names n ON n.org = o.org AND n.kind || ':' || n.name = o.line
        JOIN test.lines l ON l.org = o.org AND l.line = o.line
        WHERE n.line <> o.line AND l.moving_to IS NULL
    """,
    "a name that is free, or one of another, although an open message alone names it": """
        SELECT * FROM test.name_heirs h JOIN test.inbox m ON m.arrived = h.arrived
        JOIN test.names n ON n.org = h.org AND n.kind = h.kind AND n.name = h.name
        WHERE n.line IS NULL OR n.named_by = h.arrived
    """,
}

# What a look that finds nothing has overlooked, by what it said.
OVERLOOKED: Final = {
    DueState.EMPTY: "SELECT message_id FROM test.inbox WHERE state IN ('in_line', 'look')",
    DueState.LATER: """
        SELECT * FROM (
            SELECT DISTINCT ON (m.org, m.line) m.org, m.line, m.due_at FROM test.inbox m
            WHERE m.state = 'in_line' ORDER BY m.org, m.line, m.place, m.arrived) head
        WHERE head.due_at <= $1 AND NOT EXISTS (
            SELECT FROM test.lines l
            WHERE l.org = head.org AND l.line = head.line AND l.leased_until > $1)
    """,
}


class WatchedInbox(Inbox):
    """Holds each settlement to saying whether it leaves something due."""

    async def settle(self, *messages: LeasedMessage, **how: Any) -> set[int]:
        before = await self.lines.due_state()
        won = await super().settle(*messages, **how)
        await self._check_left(before)
        return won

    async def give_up(self, message: LeasedMessage, code: str = "internal_error") -> bool:
        before = await self.lines.due_state()
        won = await super().give_up(message, code)
        await self._check_left(before)
        return won

    async def _check_left(self, before: DueState) -> None:
        if before is not DueState.DUE and await self.lines.due_state() is DueState.DUE:
            assert self.left_due, "it leaves something due, and nobody is told"


class World:
    """An inbox, what its replicas have in hand, and what has become of everything."""

    def __init__(self, inbox: Inbox, choices: random.Random) -> None:
        self.inbox = inbox
        self.choices = choices
        self.hands: list[LeasedMessage] = []
        self.accepted: list[str] = []
        self.moved: set[str] = set()  # left its place at least once
        self.done: defaultdict[str, list[int]] = defaultdict(list)
        self.finished: set[str] = set()
        self.fact_waits: dict[str, tuple[tuple[str, str], float]] = {}
        inbox.ends = WaitEnds(inbox.pool, "test", longest=LONGEST, clock=inbox.clock)
        inbox.lines = Lines(inbox.pool, "test", longest=LONGEST, clock=inbox.clock)
        self.inspection = InboxInspection(inbox.pool, "test", clock=inbox.clock)
        self.by_hand: set[str] = set()  # given up by an operator, or its wait ended
        self.paused = False
        self.behind = False
        self.flusher_behind: list[tuple[str, str, datetime]] = []
        self.is_erased = False

    @property
    def seconds(self) -> float:
        return self.inbox.now.timestamp()

    def end(self, one: LeasedMessage) -> None:
        assert one.message_id not in self.finished, "it was settled twice"
        self.finished.add(one.message_id)
        self.fact_waits.pop(one.message_id, None)

    async def accept(self) -> None:
        group = []
        for _ in range(self.choices.randint(1, 4)):
            message_id = f"m{len(self.accepted)}"
            user, invoice = self.choices.choice(USERS), ("invoice", self.choices.choice(INVOICES))
            how: dict[str, Any] = {"priority": self.choices.choice([0, 1, 1, 1, 2])}
            match self.choices.randrange(5):
                case 0:
                    how |= {"user_id": user, "names": (invoice,)}
                case 1:
                    how |= {"user_id": None, "named": (invoice,)}
                    self.moved.add(message_id)
                case 2:
                    how |= {"user_id": user, "records": ("user",)}
                case _:
                    how |= {"user_id": user}
            group.append(message(message_id, **how))
        await self._accept(*group)

    async def accept_what_no_release_knows(self) -> None:
        waits = WaitsForRelease("unknown_command", "nobody knows it", end_s=RELEASE_S)
        message_id = f"m{len(self.accepted)}"
        self.fact_waits[message_id] = (("release", ""), self.seconds)
        await self._accept(message(message_id, None, routing_key=UNKNOWN, waits=waits))

    async def erase(self) -> None:
        if not self.is_erased:
            self.is_erased = True
            await self.inbox.pool.execute(
                "INSERT INTO relay.tombstones (org, user_id) VALUES ('default', $1)", ERASED_USER
            )
            await self._accept(message(f"m{len(self.accepted)}", ERASED_USER, first=True))

    async def _accept(self, *group: ArrivedMessage) -> None:
        self.accepted += [one.message_id for one in group]
        if self.choices.random() < 0.3 and not self.paused:
            limits = _calls_a_minute(FEW if self.choices.random() < 0.3 else MANY)
            self.inbox.slots.terms = LeaseTerms(CALLS, limits, 120.0, LEASE_S)
        results = await self.inbox.accept(*group)
        self.inbox.slots.terms = None
        self.hands += self.inbox.slots.started
        self.inbox.slots.started.clear()
        self.finished |= {
            one.message_id
            for one, result in zip(group, results, strict=True)
            if result is AcceptResult.ERASED
        }

    async def lease(self) -> None:
        closed = [("default", "billing", priority) for priority in range(4)]
        await self._lease(
            limit=self.choices.randint(1, 5),
            idle=not self.hands,
            routes=CALLS,
            limits=_calls_a_minute(FEW if self.choices.random() < 0.3 else MANY),
            closed=closed if self.paused else (),
        )

    async def _lease(self, **how: Any) -> list[LeasedMessage]:
        """Lease some into the hands. What an erased user left is given up at once."""
        leased = await self.inbox.leased(lease_s=LEASE_S, **how)
        for one in leased:
            if not one.erased:
                self.hands.append(one)
            elif await self.inbox.settle(one, outcome=MessageOutcome.GIVEN_UP):
                self.end(one)
        return leased

    def _hand(self) -> LeasedMessage | None:
        if not self.hands:
            return None
        return self.hands.pop(self.choices.randrange(len(self.hands)))

    async def finish(self) -> None:
        one = self._hand()
        if one is None:
            return
        facts = [fact for fact in FACTS[:3] if self.choices.random() < 0.2]
        early = self.choices.random() < 0.2
        if early and await self.inbox.settle(one, outcome=MessageOutcome.KEPT, facts=facts):
            self.hands.append(one)
        elif not early and await self.inbox.settle(one, facts=facts):
            self.end(one)
            if one.message_id not in self.moved:
                self.done[one.line].append(one.arrived)

    async def give_up(self) -> None:
        one = self._hand()
        if one is not None and await self.inbox.give_up(one):
            self.end(one)

    async def put_back(self) -> None:
        one = self._hand()
        if one is None:
            return
        kind = self.choices.choice(["time", "fact", "fact", "look", "person"])
        await self.wait(one, kind, self.choices.choice(FACTS))

    async def wait(self, one: LeasedMessage, kind: str, fact: tuple[str, str]) -> None:
        if kind in ("fact", "look"):
            self.moved.add(one.message_id)
        result = await self.inbox.put_back(
            one,
            kind=WaitKind(kind),
            code=f"ended_{kind}",
            due_s=0.0 if kind == "fact" else self.choices.choice([0.0, 5.0, 60.0]),
            fact=fact if kind == "fact" else None,
            end_s=END_S.get(kind),
            product="crm" if kind == "person" else None,
        )
        if result is PutBackResult.AGAIN:
            self.hands.append(one)
        elif result is PutBackResult.ENDED:
            assert await self.inbox.give_up(one, f"ended_{kind}")
            self.end(one)
        elif result is PutBackResult.WAITS and kind == "fact":
            since = self.fact_waits.get(one.message_id)
            if since is None or since[0] != fact:
                self.fact_waits[one.message_id] = (fact, self.seconds)
        elif result is PutBackResult.WAITS:
            self.fact_waits.pop(one.message_id, None)

    async def crash(self) -> None:
        """A replica dies with all that it has in hand."""
        self.hands.clear()

    async def renew(self) -> None:
        held = {(one.arrived, one.claim) for one in self.hands}
        lost = await self.inbox.lines.renew(held, LEASE_S)
        self.hands = [one for one in self.hands if (one.arrived, one.claim) not in lost]

    async def record(self) -> None:
        """A poller, or another service's news."""
        await self.inbox.settle(facts=[self.choices.choice(FACTS[:3])])

    async def name(self) -> None:
        one = self._hand()
        if one is not None:
            names = [("invoice", self.choices.choice(INVOICES), self.choices.choice(USERS))]
            if await self.inbox.settle(one, names=names):
                self.end(one)

    async def time(self) -> None:
        self.inbox.after(self.choices.choice([0.5, 3.0, 11.0, 70.0, 300.0]))

    async def quiet_time(self) -> None:
        """Nothing happens but that waits are counted, for longer than any of them may last."""
        for _ in range(self.choices.choice([5, 50])):
            self.inbox.after(20)
            await self.count()

    async def switch(self) -> None:
        self.paused = self.choices.random() < 0.3
        self.behind = self.choices.random() < 0.3
        since = self.inbox.now - timedelta(seconds=self.choices.choice([0, 60, 600]))
        is_behind = self.choices.random() < 0.3
        self.flusher_behind = [("default", "contact", since)] if is_behind else []

    async def count(self) -> None:
        paused = [("default", kind) for kind in PAUSED] if self.paused else []
        held = await self._held()
        ended = await self.inbox.ended(
            intake_behind=self.behind, paused=paused, behind=self.flusher_behind
        )
        await self._check_held(held)
        await self._check_order(ended)
        for one in ended:
            assert one.code is not None
            if one.code == GIVEN_UP_BY_HAND:
                assert one.message_id in self.by_hand
            elif one.message_id not in self.fact_waits:
                # An operator ended the wait of what was replayed, before a release took it.
                assert (one.code, one.message_id in self.by_hand) == ("unknown_command", True)
            else:
                (kind, _), since = self.fact_waits[one.message_id]
                end_s = RELEASE_S if kind == "release" else END_S["fact"]
                assert one.code == ("unknown_command" if kind == "release" else "ended_fact")
                assert not (self.paused and kind in PAUSED), "a paused product's wait has no end"
                assert one.message_id in self.by_hand or self.seconds - since >= end_s - 1, (
                    "it ended before its time"
                )
            # Giving up another may have woken it, because that one named what this waits for.
            if self.choices.random() < 0.8 and await self.inbox.give_up(one, one.code):
                self.end(one)
        late = await self.inbox.pool.fetch(
            """
            SELECT message_id FROM test.inbox m
            WHERE state = 'fact' AND claim IS NULL AND fact_kind <> ALL ($1)
              AND waiting_since
                  < $2::timestamptz - make_interval(secs => ($3 * 1.05) * end_s + overdue_s)
              AND NOT EXISTS (
                  SELECT FROM test.inbox r WHERE r.arrived < m.arrived AND r.state <> 'fact'
                    AND m.fact_kind = ANY (r.records))
            """,
            PAUSED if self.paused else [],
            self.inbox.now,
            LONGEST,
        )
        assert not late, "it has waited for too long, counted or not"

    async def _held(self) -> dict[str, float]:
        """What counts of the waits that began after whoever records such facts fell behind."""
        rows = await self.inbox.pool.fetch(
            "SELECT message_id, fact_kind, waiting_since, counted_s FROM test.inbox"
            " WHERE state = 'fact'"
        )
        return {
            row["message_id"]: row["counted_s"]
            for row in rows
            for _, kind, since in self.flusher_behind
            if row["fact_kind"] == kind and row["waiting_since"] >= since
        }

    async def _check_held(self, held: dict[str, float]) -> None:
        rows = await self.inbox.pool.fetch(
            "SELECT message_id, counted_s FROM test.inbox m WHERE message_id = ANY ($1)"
            " AND extract(epoch FROM $2 - waiting_since) < $3 * end_s",
            [*held],
            self.inbox.now,
            LONGEST,
        )
        for row in rows:
            assert row["counted_s"] == held[row["message_id"]], "it counted while it was held"

    async def _check_order(self, ended: list[LeasedMessage]) -> None:
        """Nobody's wait ends before its time by count while what came before may still end it."""
        early = await self.inbox.pool.fetch(
            """
            SELECT m.message_id FROM test.inbox m
            WHERE m.arrived = ANY ($1) AND m.state = 'fact' AND m.counted_s < m.end_s
              AND EXISTS (
                  SELECT FROM test.inbox r WHERE r.arrived < m.arrived AND r.state <> 'fact'
                    AND m.fact_kind = ANY (r.records))
            """,
            [one.arrived for one in ended],
        )
        assert not early, "it ended, and what came before it may still record the fact"

    async def intervene(self) -> None:
        """An operator ends a wait, or gives a message up."""
        page = await self.inspection.page()
        if not page:
            return
        one = self.choices.choice(page)
        act = self.choices.choice([self.inspection.end_wait, self.inspection.give_up])
        if await act(one.arrived, by="property"):
            self.by_hand.add(one.message_id)

    async def replay(self) -> None:
        for letter in await self.inbox.dead_letters.page():
            if self.choices.random() < 0.3:
                assert await self.inbox.dead_letters.replay(letter.arrived, by="property")
                self.finished.discard(letter.message_id)
                self.moved.add(letter.message_id)
                self.fact_waits.pop(letter.message_id, None)
                if letter.routing_key == UNKNOWN:
                    self.fact_waits[letter.message_id] = (("release", ""), self.seconds)

    async def check(self) -> None:
        for rule, sql in BROKEN.items():
            arguments = [self.inbox.now] if "$1" in sql else []
            broken = await self.inbox.pool.fetch(sql, *arguments)
            assert not broken, f"{rule}: {broken}"
        said = await self.inbox.lines.due_state()
        if said is not DueState.DUE:
            arguments = [self.inbox.now] if said is DueState.LATER else []
            overlooked = await self.inbox.pool.fetch(OVERLOOKED[said], *arguments)
            assert not overlooked, f"a look says {said}: {overlooked}"

    async def drain(self) -> None:
        """Nothing is paused any more, and no fact comes: all of it ends."""
        self.hands.clear()
        self.paused = self.behind = False
        self.flusher_behind = []
        for number in range(1000):
            self.inbox.after(20 if number < 500 else 600)  # a day for what was replayed
            await self.count()
            while await self._lease():
                leased, self.hands = self.hands, []
                for one in leased:
                    if one.message_id in self.fact_waits:
                        await self.wait(one, "fact", self.fact_waits[one.message_id][0])
                    elif await self.inbox.settle(one):
                        self.end(one)
                        if one.message_id not in self.moved:
                            self.done[one.line].append(one.arrived)
                self.hands.clear()
                if leased and all(one.message_id in self.fact_waits for one in leased):
                    break
            if await self.inbox.counts() == (0, 0):
                break
        assert await self.inbox.counts() == (0, 0), await self.inbox.open()
        assert self.finished == set(self.accepted)
        for line, arrived in self.done.items():
            assert arrived == sorted(arrived), f"{line} was not done in order"


def _calls_a_minute(calls: int) -> dict[str, object]:
    limits = QuotaLimits(calls=calls, window_s=60.0, in_flight=None, credits=None, zone="UTC")
    return {"billing": limits_document(limits)}


STEPS: Final[list[Callable[[World], Coroutine[Any, Any, None]]]] = [
    World.accept,
    World.accept,
    World.lease,
    World.lease,
    World.lease,
    World.finish,
    World.finish,
    World.give_up,
    World.put_back,
    World.put_back,
    World.crash,
    World.renew,
    World.record,
    World.name,
    World.time,
    World.time,
    World.switch,
    World.count,
    World.count,
    World.replay,
    World.intervene,
    World.accept_what_no_release_knows,
    World.erase,
    World.quiet_time,
]


async def _play(template: str, postgres_url: str, steps: list[int], seed: int) -> None:
    async for pool in database(template, postgres_url):
        await _play_on(pool, steps, seed)


async def _play_on(pool: asyncpg.Pool, steps: list[int], seed: int) -> None:
    vault = Vault(DataKeys(pool, KeyRing.parse("e1:" + "A" * 43 + "=")))
    world = World(WatchedInbox(pool, vault), random.Random(seed))  # noqa: S311 - replayed by its seed
    for step in steps:
        await STEPS[step](world)
        await world.check()
    await world.drain()


@pytest.fixture(scope="module")
def world_database(template: str, postgres_url: str) -> tuple[str, str]:
    return template, postgres_url


RANDOM_STEPS: Final = st.lists(st.integers(0, len(STEPS) - 1), min_size=10, max_size=80)
SEEDS: Final = st.integers(0, 2**32)


# Replayed, a message that no release knows had no end.
@example(steps=[0, 5, 5, 5, 21, 20, 17, 0, 19, 0], seed=0)
# An operator may end the wait of what was replayed.
@example(steps=[12, 22, 20, 0, 2, 2, 17, 19, 20, 0], seed=315)
# A wait counted although the flusher was behind since before it began.
@example(steps=random.Random(26).choices(range(len(STEPS)), k=60), seed=26)  # noqa: S311
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(steps=RANDOM_STEPS, seed=SEEDS)
def test_every_wait_ends_by_its_rule_and_every_line_goes_on(
    world_database: tuple[str, str], steps: list[int], seed: int
) -> None:
    asyncio.run(_play(*world_database, steps, seed))


@pytest.mark.chaos
@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(steps=RANDOM_STEPS, seed=SEEDS)
def test_every_wait_ends_by_its_rule_in_many_more_runs(
    world_database: tuple[str, str], steps: list[int], seed: int
) -> None:
    asyncio.run(_play(*world_database, steps, seed))
