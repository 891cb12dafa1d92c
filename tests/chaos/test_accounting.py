"""Random commands of many users, under faults of every kind, end as one publisher meant them.

Nothing is lost, nothing is done twice, and each user's state at Zoho is that of the last command
that was not refused. The seed is printed, and `ACCOUNTING_SEED` repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import cast

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos.accounts import Published, UserAccount
from tests.chaos.hearing import Hearing
from tests.chaos.publisher import OrderlyPublisher
from tests.kit.whole_system import REPLICAS, all_published, more_replicas, stage_of

SERVICES = ("billing-worker", "crm-worker", "desk-worker", "token-service", "webhook-gateway")
LOST_ANSWERS = ("reset_after", "reset_before", "status:500")
WITH_LIMITS = (*LOST_ANSWERS, "status:429")  # which closes a product for a minute


@pytest.mark.parametrize(
    ("users", "commands", "upheavals", "faults"),
    [
        pytest.param(5, 8, 2, LOST_ANSWERS, id="short"),
        pytest.param(60, 25, 30, WITH_LIMITS, id="whole", marks=pytest.mark.chaos),
    ],
)
async def test_every_account_balances(
    stack: Stack,
    stage: SystemDriver,
    users: int,
    commands: int,
    upheavals: int,
    faults: Sequence[str],
) -> None:
    seed = int(os.environ.get("ACCOUNTING_SEED", random.SystemRandom().randrange(10**6)))
    print(f"\nACCOUNTING_SEED={seed}")
    chance = random.Random(seed)  # noqa: S311 - a test repeats it
    accounts = [UserAccount(chance) for _ in range(users)]
    lists = [account.commands(commands) for account in accounts]
    expected = Counter((c.message_id, c.refused) for c in chain.from_iterable(lists) if c.refused)
    url = stack.env["AMQP_URL"]

    async with (
        Hearing(stack, "command.failed.v1") as failures,
        Hearing(stack, "#") as everything,
        more_replicas(stack, REPLICAS),
    ):
        for product in ("billing", "crm", "desk"):
            for kind in faults:
                await stage.sandbox.fault(product, kind, probability=0.02)
        async with OrderlyPublisher(url) as publisher:
            publishing = asyncio.create_task(_publish(publisher, _interleaved(chance, lists)))
            happened = await _upheavals(stack, chance, upheavals)
            await publishing
        await stage.sandbox.clear_faults()
        async with stage_of(stack) as after:
            await _all_done(after, accounts)
            differences = await _differences(after, accounts)
        await all_published(stack)
        refused = await failures.counts(
            lambda event: (event["message_id"], event["code"]), at_least=expected
        )
        versions = await everything.counts(
            lambda event: (event["subject"], event.get("version")), at_least=()
        )

    print(f"{sum(map(len, lists))} commands, {dict(happened)}, {expected.total()} refusals")
    assert not differences, "\n".join(differences)
    assert refused == expected
    assert not _holes(versions)


def _holes(versions: Mapping[Hashable, int]) -> list[str]:
    """The subjects whose versions are not n, n + 1, n + 2, … each once."""
    by_subject: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for key, count in versions.items():
        subject, version = cast("tuple[str, int | None]", key)
        if version is not None:
            by_subject[subject][version] += count
    return [
        f"{subject}: {sorted(seen.elements())}"
        for subject, seen in by_subject.items()
        if sorted(seen.elements()) != [*range(min(seen), max(seen) + 1)]
    ]


def _interleaved(chance: random.Random, lists: Sequence[list[Published]]) -> list[Published]:
    """All commands, each user's in their order, the users' mixed."""
    turns = [n for n, commands in enumerate(lists) for _ in commands]
    chance.shuffle(turns)
    each = [iter(commands) for commands in lists]
    return [next(each[turn]) for turn in turns]


async def _publish(publisher: OrderlyPublisher, commands: Sequence[Published]) -> None:
    for command in commands:
        await publisher.publish(command)
        await asyncio.sleep(0.02)


async def _upheavals(stack: Stack, chance: random.Random, count: int) -> Counter[str]:
    """Kill, freeze and stop what the system is made of, one after the other."""
    happened: Counter[str] = Counter()
    for _ in range(count):
        await asyncio.sleep(chance.uniform(0.2, 1.5))
        kind = chance.choice(("kill", "kill", "kill", "freeze", "rabbitmq", "postgres"))
        happened[kind] += 1
        if kind == "kill":
            with suppress(ProcessLookupError):
                service = chance.choice(SERVICES)
                pid = await asyncio.to_thread(stack.kill, service)
                await asyncio.to_thread(stack.wait_ready, service, not_pid=pid)
        elif kind == "freeze":
            await _freeze(stack, chance.choice(("billing-worker", "crm-worker")))
        elif chance.random() < 0.5:
            await asyncio.to_thread(stack.stop_process, kind)
            await asyncio.sleep(chance.uniform(0, 3))
            await asyncio.to_thread(stack.start_process, kind)
        else:
            pid = await asyncio.to_thread(stack.kill, kind)
            await asyncio.to_thread(stack.wait_ready, kind, not_pid=pid)
    return happened


async def _freeze(stack: Stack, service: str) -> None:
    pid = stack.pid(service)
    if pid is None:
        return
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(6)
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


async def _all_done(stage: SystemDriver, accounts: Sequence[UserAccount]) -> None:
    """Return once no account differs, or nothing has changed for a while. Fails on neither."""
    last: list[str] = []
    quiet = 0
    async with asyncio.timeout(420):
        while quiet < 150:
            differences = await _differences(stage, accounts)
            if not differences:
                return
            quiet = quiet + 1 if differences == last else 0
            last = differences
            await asyncio.sleep(1)


async def _differences(stage: SystemDriver, accounts: Sequence[UserAccount]) -> list[str]:
    """What Zoho holds differently, one line each."""
    state = await stage.sandbox.state()
    books = _Books(state)
    return [line for account in accounts for line in books.differences(account)]


class _Books:
    """What the sandbox holds, by what our commands name."""

    def __init__(self, state: Json) -> None:
        billing, crm, desk = state["billing"], state["crm"], state["desk"]
        self._customers = _by(billing["customers"], "email")
        self._contacts = _by(crm["contacts"], "Email")
        self._subscriptions = _by(billing["subscriptions"], "reference_id")
        self._payments = Counter(p.get("reference_number") for p in billing["payments"])
        self._notes = Counter(_last_line(n.get("Note_Content")) for n in crm["notes"])
        self._tickets = str([t.get("cf") for t in desk["tickets"]])
        self._comments = [str(c.get("content")) for c in desk["comments"]]

    def differences(self, account: UserAccount) -> list[str]:
        lines = []

        def expect(what: str, found: object, wanted: object) -> None:
            if found != wanted:
                lines.append(f"{account.user_id}: {what} is {found!r}, not {wanted!r}")

        customers = self._customers.get(account.email, [])
        contacts = self._contacts.get(account.email, [])
        expect("customers", len(customers), 1)
        expect("contacts", len(contacts), 1)
        for name, field, held in (
            ("display_name", "phone", customers),
            ("Last_Name", "Phone", contacts),
        ):
            for record in held[:1]:
                expect(name, str(record.get(name)).split()[-1], account.last_name)
                expect(field, record.get(field) or None, account.phone)
        for subscription in account.subscriptions:
            found = self._subscriptions.get(subscription.subscription_id, [])
            states = [(s["status"], s["plan"]["plan_code"]) for s in found]
            expect(subscription.subscription_id, states, [(subscription.status, subscription.plan)])
        for payment_id in account.payments:
            expect(payment_id, self._payments[payment_id], 1)
        for interaction_id in account.interactions:
            expect(interaction_id, self._notes[f"ref {interaction_id}"], 1)
        for escalation_id in account.escalations:
            expect(escalation_id, self._tickets.count(escalation_id), 1)
        for comment_id in account.comments:
            expect(comment_id, sum(f"ref {comment_id}" in text for text in self._comments), 1)
        return lines


def _by(records: list[Json], name: str) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for record in records:
        found.setdefault(str(record.get(name)), []).append(record)
    return found


def _last_line(text: object) -> str:
    return str(text or "").splitlines()[-1] if text else ""
