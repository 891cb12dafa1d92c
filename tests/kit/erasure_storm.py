"""Erase users while everything of theirs is under way, in random schedules, and look what is left.

Each user has a schedule of its own, drawn from a seed: what was done before, what is under way,
when the erasure is asked for and how often, and what comes too late. Faults of Zoho and kills of
workers fall into all of them.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.kit.whole_system import all_published

WORKERS = ("billing-worker", "crm-worker", "desk-worker")
_FAULTS = ("reset_after", "reset_before", "status:500", "timeout_after")
# The calls that make something, and those by which an erasure takes it away.
_OPERATIONS = {
    "billing": (
        "create_customer", "create_subscription", "collect_charge", "update_customer",
        "cancel_subscription", "delete_card", "mark_customer_as_inactive",
    ),
    "books": ("update_contact", "mark_contact_inactive", "list_contacts"),
    "crm": ("upsert_records", "create_notes", "update_record", "delete_notes", "remove_tags"),
    "desk": (
        "create_ticket", "update_ticket", "trash_tickets", "update_contact", "delete_comment",
    ),
}  # fmt: skip
# What an erasure must have emptied. Invoices, mails and logs of Zoho's keep what they were made of.
_EMPTIED = {
    "billing": ("customers", "cards"),
    "books": ("contacts",),
    "crm": ("contacts", "notes"),
    "desk": ("contacts", "tickets", "comments"),
}
# The workers that take each command, and refuse it once its user is erased.
_TAKEN_BY = {
    "user.signed_up.v1": WORKERS,
    "user.updated.v1": WORKERS,
    "subscription.requested.v1": ("billing-worker",),
    "interaction.recorded.v1": ("crm-worker",),
    "support.escalated.v1": ("desk-worker",),
}
_LIVING = ("live", "trial", "future", "unpaid", "dunning", "non_renewing")


@dataclass
class Schedule:
    """One user. `mark` is in the user's email, names, notes and tickets, and in nothing else."""

    user_id: str
    mark: str
    settled: bool  # what the application asked for is done before, or is under way
    commands: list[tuple[str, Json]]
    late: list[tuple[str, Json]]
    erasures: int
    gap_s: float


def schedules(seed: int, count: int) -> list[Schedule]:
    """Draw the schedules. The same seed draws the same."""
    draw = random.Random(seed)  # noqa: S311 - a test's
    return [_schedule(draw, f"{seed}n{n}") for n in range(count)]


def _schedule(draw: random.Random, tail: str) -> Schedule:
    user_id, mark = f"erase-{tail}", f"quill{draw.getrandbits(48):012x}"
    sign_up = (
        "user.signed_up.v1",
        {
            "user_id": user_id,
            "email": f"{mark}@example.com",
            "full_name": f"Ada {mark}",
            "phone": "+4930" + str(draw.randrange(10**7, 10**8)),
        },
    )
    possible: list[tuple[str, Json]] = [
        (
            "subscription.requested.v1",
            {"user_id": user_id, "subscription_id": f"s-{tail}", "plan_code": "basic-monthly"},
        ),
        (
            "interaction.recorded.v1",
            {
                "user_id": user_id,
                "interaction_id": f"i-{tail}",
                "title": f"A call of {mark}",
                "content": f"{mark} asked for a discount.",
            },
        ),
        (
            "support.escalated.v1",
            {
                "user_id": user_id,
                "escalation_id": f"e-{tail}",
                "email": f"{mark}@example.com",
                "subject": f"{mark} was charged twice",
                "description": "The customer insists on a person.",
                "transcript": f"user: I am {mark}.",
            },
        ),
        ("user.updated.v1", {"user_id": user_id, "full_name": f"Ada B. {mark}"}),
    ]
    return Schedule(
        user_id=user_id,
        mark=mark,
        settled=draw.random() < 0.4,
        commands=[sign_up, *(each for each in possible if draw.random() < 0.7)],
        late=[sign_up, *(each for each in possible if draw.random() < 0.3)],
        erasures=draw.choice((1, 1, 2, 3)),
        gap_s=draw.choice((0.0, 0.05, 0.5, 2.0)),
    )


@dataclass
class ErasureStorm:
    """Runs schedules on a system, and looks at what is left of their users."""

    stack: Stack
    stage: SystemDriver
    seed: int

    async def run(self, users: Sequence[Schedule], *, linger_s: float) -> None:
        """Run all schedules at once, and let what they asked for go on for so long."""
        async with asyncio.TaskGroup() as tasks:
            for user in users:
                tasks.create_task(self._run_one(user))
        await asyncio.sleep(linger_s)

    async def until_erased(self, users: Sequence[Schedule]) -> None:
        """Wait for each receipt, without faults. What is sent then is refused by every worker."""
        await self.stage.sandbox.clear_faults()
        for user in users:
            await self.stage.event("user.erased.v1", user_id=user.user_id)
            for routing_key, body in user.late:
                await self.stage.publish(routing_key, body, message_id=_late_id(user, routing_key))
        for user in users:
            for routing_key, _ in user.late:
                for worker in _TAKEN_BY[routing_key]:
                    await self.stage.event(
                        "command.failed.v1",
                        message_id=_late_id(user, routing_key),
                        service=worker,
                        code="erased",
                    )

    async def _run_one(self, user: Schedule) -> None:
        for routing_key, body in user.commands:
            await self.stage.publish(routing_key, body, message_id=f"{user.user_id} {routing_key}")
        if user.settled:
            await self.stage.event("customer.created.v1", user_id=user.user_id)
            await self._card(user)
        await asyncio.sleep(user.gap_s)
        for _ in range(user.erasures):
            await self.stage.publish("user.erasure_requested.v1", {"user_id": user.user_id})

    async def _card(self, user: Schedule) -> None:
        """Store a card and charge it: a charge is under way when the erasure is asked for."""
        for customer in await self.stage.sandbox.records("billing", "customers"):
            if user.mark in json.dumps(customer):
                await self.stage.sandbox.add_card(customer["customer_id"])
        for key, event in list(self.stage.events):
            if key == "invoice.issued.v1" and event.get("user_id") == user.user_id:
                await self.stage.publish(
                    "payment.collect_requested.v1", {"invoice_id": event["invoice_id"]}
                )

    async def settled(self) -> None:
        """Return once no message of an erased user is open any more, and all events were heard."""
        connection = await asyncpg.connect(self.stack.env["DATABASE_URL"])
        try:
            async with asyncio.timeout(120):
                for schema in ("billing", "crm", "desk"):
                    while await connection.fetchval(  # noqa: ASYNC110 - a table has no event
                        f"SELECT count(*) FROM {schema}.inbox WHERE line LIKE 'user:erase-%'"  # noqa: S608
                    ):
                        await asyncio.sleep(0.1)
        finally:
            await connection.close()
        await all_published(self.stack)
        await self.stage.hear()

    async def left_at_zoho(self, users: Sequence[Schedule]) -> list[str]:
        """What Zoho still holds of the users in records that should be empty."""
        state, found = await self.stage.sandbox.state(), []
        for product, tables in _EMPTIED.items():
            for table in tables:
                for record in state[product][table]:
                    text = json.dumps(record)
                    found += [
                        f"{user.user_id} in {product}.{table}"
                        for user in users
                        if user.mark in text
                    ]
        emptied = {
            customer["customer_id"]: customer
            for customer in state["billing"]["customers"]
            if customer["display_name"].startswith("Erased user")
        }
        found += [
            f"an active customer: {each['display_name']}"
            for each in emptied.values()
            if each["status"] != "inactive"
        ]
        found += [
            f"a living subscription: {each['status']}"
            for each in state["billing"]["subscriptions"]
            if each.get("customer_id", each.get("customer", {}).get("customer_id")) in emptied
            and each["status"] in _LIVING
        ]
        return found

    async def left_here(self, users: Sequence[Schedule]) -> list[str]:
        """The tables that still hold rows, keys or journal entries of the users."""
        ids = [user.user_id for user in users]
        connection = await asyncpg.connect(self.stack.env["DATABASE_URL"])
        found = []
        for schema in ("billing", "crm", "desk"):
            tables = await connection.fetch(
                "SELECT table_id::regclass::text AS name FROM relay.tables_of_users($1)", schema
            )
            for table in tables:
                rows = await connection.fetchval(
                    f"SELECT count(*) FROM {table['name']} WHERE user_id = ANY ($1::text[])",  # noqa: S608
                    ids,
                )
                found += [table["name"]] * bool(rows)
            lines = [f"user:{user_id}" for user_id in ids]
            for table_name in ("inbox", "dead_letters"):
                rows = await connection.fetchval(
                    f"SELECT count(*) FROM {schema}.{table_name}"  # noqa: S608
                    " WHERE line = ANY ($1::text[])",
                    lines,
                )
                found += [f"{schema}.{table_name}"] * bool(rows)
        keys = await connection.fetchval(
            "SELECT count(*) FROM relay.data_keys WHERE owner = ANY ($1::text[])"
            " AND wrapped IS NOT NULL",
            [f"user:{user_id}" for user_id in ids],
        )
        effects = await connection.fetchval(
            "SELECT count(*) FROM relay.effects WHERE owner = ANY ($1::text[])", ids
        )
        await connection.close()
        return found + ["relay.data_keys"] * bool(keys) + ["relay.effects"] * bool(effects)

    def receipts(self, user: Schedule) -> set[str]:
        """The ids of the receipts: one, however often it was delivered."""
        return {
            event["event_id"]
            for key, event in self.stage.events
            if key == "user.erased.v1" and event["user_id"] == user.user_id
        }

    @asynccontextmanager
    async def faults(self, *, every_s: float) -> AsyncIterator[None]:
        """Let Zoho fail at random while the block runs."""
        draw = random.Random(self.seed)  # noqa: S311 - a test's

        async def fail() -> None:
            while True:
                product = draw.choice(list(_OPERATIONS))
                await self.stage.sandbox.fault(
                    product,
                    draw.choice(_FAULTS),
                    operation=draw.choice(_OPERATIONS[product]),
                    times=draw.randint(1, 3),
                )
                await asyncio.sleep(every_s)

        async with _beside(fail()):
            yield

    @asynccontextmanager
    async def kills(
        self, replicas: Sequence[tuple[str, int]], *, every_s: float
    ) -> AsyncIterator[None]:
        """Kill one of the replicas at random, again and again, while the block runs."""
        draw = random.Random(self.seed)  # noqa: S311 - a test's

        async def kill() -> None:
            while True:
                await asyncio.sleep(every_s)
                service, n = draw.choice(list(replicas))
                if self.stack.pid(service, n) is not None:
                    pid = await asyncio.to_thread(self.stack.kill, service, n)
                    await asyncio.to_thread(self.stack.wait_ready, service, n, not_pid=pid)

        async with _beside(kill()):
            yield


def _late_id(user: Schedule, routing_key: str) -> str:
    return f"{user.user_id} {routing_key} late"


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
