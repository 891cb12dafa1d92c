"""After an erasure and the retention times nothing of the user is left, on a disk or in a row.

A system of its own, so that all that is written in it is known. One user is erased as always. Of
each other one a deletion is left out: that, and only that, is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.billing_worker.repositories import report_pages
from services.crm_worker.repositories import watches
from services.webhook_gateway.repositories import webhooks
from services.zoho_sandbox.driver import Json
from shared.messaging.service.retention import rules
from shared.storage.retention import Rule
from tests.kit.erased_life import ErasedLife
from tests.kit.leak_search import Finding, search
from tests.kit.noted_values import NotedValues, noting, places_naming, places_with
from tests.kit.whole_system import SHORT_WAITS, all_published, stage_of

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

WORKERS: Final = ("billing", "crm", "desk")
# Every deletion and every emptying that an erasure does, by its table.
DELETIONS: Final = (
    "billing.users", "billing.user_fields", "billing.subscriptions", "billing.invoices",
    "billing.payments", "billing.refunds", "billing.decisions", "billing.blind_index",
    "billing.dead_letters", "crm.contacts", "crm.contact_fields", "crm.blind_index", "desk.users",
    "desk.escalations", "desk.transitions", "desk.blind_index", "desk.dead_letters",
    "relay.effects", "relay.erasure_parts", "relay.data_keys",
)  # fmt: skip
# docs/erasure.md: the user_id and the ids of the user's things have no end there …
NAMED_FOR_GOOD: Final = {
    "relay.tombstones", "relay.erasure_parts", "relay.data_keys",
    *(f"{schema}.{table}" for schema in WORKERS for table in ("names", "versions")),
}  # fmt: skip
# … and here they have one, as an HMAC of a message's body has.
NAMED_FOR_A_TIME: Final = {
    f"{schema}.{table}" for schema in WORKERS for table in ("name_heirs", "recorded_facts")
}
DIGESTED: Final = {f"{schema}.accepted_ids" for schema in WORKERS}
# What the receipt says is kept for a time, and the columns it means.
KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "events and replies that were published": ("outbox.body",),
    "webhooks that came before their user was known": ("webhooks.body",),
    "messages that were given up and named no user": ("dead_letters.body", "dead_letters.body_mac"),
    "ids of messages, with an HMAC of each body": (),  # webhooks' are in the same column
    "ids of webhooks, with an HMAC of each event's id or body": (
        "accepted_ids.body_mac", "webhooks.event_mac",
    ),
    "backups, and the files of the broker": (),
}  # fmt: skip
# Rules that are not missed here: nothing was written there, or the system applied them meanwhile.
NOT_MISSED: Final = (
    "suspects", "interventions", "names", "comparisons", "report_pages", "open_webhooks",
    "name_heirs",
)  # fmt: skip


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("erased"), settings=SHORT_WAITS, durable=False)
    try:
        stack.start()
        yield stack
    finally:
        stack.discard()


@pytest.fixture
async def own_stage(own_stack: Stack) -> AsyncIterator[SystemDriver]:
    async with stage_of(own_stack) as opened:
        yield opened


async def test_nothing_is_left_and_a_deletion_that_is_left_out_shows(
    own_stack: Stack, own_stage: SystemDriver
) -> None:
    own_stage.patience_s = 120.0
    erased, others = ErasedLife(), {place: ErasedLife() for place in DELETIONS}
    users = [erased, *others.values()]
    async with noting(own_stack) as noted:
        for place, user in others.items():
            await noted.keep(place, user.user_id)

        await asyncio.gather(*(user.live(own_stage) for user in users))
        receipt = await receipt_of(own_stage, users)
        await erased.come_late(own_stage)
        await settled(own_stack, noted)

        await noted.read()
        assert await places_of(noted, erased) == set()
        assert {place: await places_of(noted, user) for place, user in others.items()} == {
            place: {place} for place in DELETIONS
        }
        await noted.catch_up()
        days = {each["what"]: each.get("days") for each in receipt["kept"]}
        assert await left_later(noted, days, all_rules()) == []
        for rule in all_rules():
            if not rule.table.endswith(NOT_MISSED):
                without = [each for each in all_rules() if each != rule]
                assert await left_later(noted, days, without), f"{rule} is not missed"

    await nothing_lies_on_a_disk(own_stack, users)


async def receipt_of(stage: SystemDriver, users: Sequence[ErasedLife]) -> Json:
    for user in users:
        await stage.publish("user.erasure_requested.v1", {"user_id": user.user_id})
    receipts = [await stage.event("user.erased.v1", user_id=user.user_id) for user in users]
    return receipts[0]


async def nothing_lies_on_a_disk(stack: Stack, users: Sequence[ErasedLife]) -> None:
    await vacuumed(stack)
    needles = [needle for user in users for needle in user.needles()]
    folders = [Path(stack.env[name]) for name in ("POSTGRES_DATA", "LOG_DIR")]
    broker = Path(stack.env["RABBITMQ_DATA"])
    assert told(search(folders, needles, integers=False)) == []
    # The commands, until the broker begins a new log: when it is full, or at a start. A queue ends
    # its part of the old one once its consumer is back.
    found = search([broker], needles, integers=False)
    assert {finding.kind for finding in found} == {"email", "name", "phone", "transcript"}
    await asyncio.to_thread(stack.stop_process, "rabbitmq")
    await asyncio.to_thread(stack.start_process, "rabbitmq")
    async with asyncio.timeout(60):
        while search([broker], needles, integers=False):  # noqa: ASYNC110 - files have no event
            await asyncio.sleep(0.5)
    assert told(search(folders, needles, integers=False)) == []

    await planted(stack, users[0].email)
    found = search(folders, needles, integers=False)
    (folders[1] / "planted.log").unlink()
    assert {(f.kind, f.path.is_relative_to(folders[1])) for f in found} == {
        ("email", False),
        ("email", True),
    }


async def places_of(noted: NotedValues, user: ErasedLife) -> set[str]:
    """The tables that hold something of the user which an erasure has to take away at once."""
    rows = await noted.rows()
    named = places_naming(rows, user.user_id) - NAMED_FOR_GOOD - NAMED_FOR_A_TIME
    return named | (places_with(rows, noted.values_of(user.user_id)) - DIGESTED)


async def settled(stack: Stack, noted: NotedValues) -> None:
    """Return once no message is open. A webhook of nobody's looks for its user for 20 s."""
    async with asyncio.timeout(90):
        for schema in WORKERS:
            while await noted.connection.fetchval(f"SELECT count(*) FROM {schema}.inbox"):  # noqa: S608, ASYNC110
                await asyncio.sleep(0.2)
    await all_published(stack)


def all_rules() -> Sequence[Rule]:
    return [
        *(rule for schema in WORKERS for rule in rules(schema)),
        *webhooks.retention(),
        watches.retention(),
        *report_pages.retention(),
    ]


async def left_later(
    noted: NotedValues, days: Mapping[str, int | None], rules: Sequence[Rule]
) -> list[str]:
    """What is found longer than the receipt says, with these rules. They are not kept to."""
    late = []
    for what, columns in KEPT.items():
        rows = await rows_after(noted, days[what] or 0, rules)
        tables = tuple(column.split(".")[0] for column in columns)
        late += [
            f"{what}: {place}"
            for place in places_with(rows, noted.values_in(*columns))
            if place.endswith(tables)
        ]
        if what.startswith("ids of messages"):
            texts = (text for schema in WORKERS for text in rows[f"{schema}.accepted_ids"])
            late += [f"{what}: {text[:60]}" for text in texts if not of_webhook(text)]
    rows = await rows_after(noted, max(each or 0 for each in days.values()), rules)
    everything = noted.values_in("") - noted.values_in("data_keys.wrapped")
    late += sorted(places_with(rows, everything))
    late += sorted(places_naming(rows, "life-") - NAMED_FOR_GOOD)
    return late


def of_webhook(accepted_id: str) -> bool:
    return accepted_id.split(",")[1].startswith(("billing.", "books.", "crm.", "desk."))


async def rows_after(
    noted: NotedValues, days: int, rules: Sequence[Rule]
) -> Mapping[str, list[str]]:
    """All rows as they are so many days later. The database stays as it is."""
    trial = noted.connection.transaction()
    await trial.start()
    try:
        clock = datetime.now(UTC) + timedelta(days=days)
        for rule in rules:
            status = f"… {rule.batch}"
            while status.endswith(f" {rule.batch}"):
                status = await noted.connection.execute(
                    rule.statement(), rule.age_s, rule.batch, clock
                )
        return await noted.rows()
    finally:
        await trial.rollback()


async def vacuumed(stack: Stack) -> None:
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    await connection.execute("VACUUM FULL")
    await connection.close()


async def planted(stack: Stack, email: str) -> None:
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    await connection.execute("CREATE TABLE public.planted AS SELECT $1::text AS email", email)
    await connection.close()
    (Path(stack.env["LOG_DIR"]) / "planted.log").write_text(email)


def told(findings: Sequence[Finding]) -> list[str]:
    return [str(finding) for finding in findings]
