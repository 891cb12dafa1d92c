"""Test that databases and brokers of the version before can be used by this one."""

from __future__ import annotations

import pytest

from shared.version import VERSION
from tests.release.record import ReleaseRecord, broken, present, records

BEFORE = ReleaseRecord(
    migrations={"billing": {"0001_users.sql": "a", "0002_invoices.sql": "b"}},
    queues={"billing-worker.intake.commands": {"durable": True, "x-queue-type": "quorum"}},
)


@pytest.mark.parametrize("record", records(), ids=lambda file: file.stem)
async def test_migrations_are_only_added_and_queues_stay(record) -> None:
    problems = list(broken(ReleaseRecord.read(record), await present()))

    assert not problems, f"until {VERSION} is tagged: .venv/bin/python -m tests.release"


def test_every_version_is_compared_with_a_record() -> None:
    assert records()


@pytest.mark.parametrize(
    ("migrations", "problem"),
    [
        ({"0001_users.sql": "a"}, "billing/0002_invoices.sql is gone"),
        ({"0001_users.sql": "c", "0002_invoices.sql": "b"}, "billing/0001_users.sql was edited"),
        (
            {"0001_plans.sql": "c", **BEFORE.migrations["billing"]},
            "billing/0001_plans.sql comes before 0002_invoices.sql",
        ),
    ],
)
def test_a_change_of_released_migrations_is_found(migrations, problem) -> None:
    (found,) = broken(BEFORE, ReleaseRecord({"billing": migrations}, BEFORE.queues))

    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("queues", "problem"),
    [
        ({}, "the queue billing-worker.intake.commands is gone"),
        (
            {"billing-worker.intake.commands": {"durable": True, "x-queue-type": "classic"}},
            "the queue billing-worker.intake.commands has other arguments",
        ),
    ],
)
def test_a_change_of_released_queues_is_found(queues, problem) -> None:
    (found,) = broken(BEFORE, ReleaseRecord(BEFORE.migrations, queues))

    assert found.startswith(problem)


def test_additions_are_allowed() -> None:
    added = ReleaseRecord(
        {"billing": {**BEFORE.migrations["billing"], "0003_refunds.sql": "c"}, "crm": {"1": "d"}},
        {**BEFORE.queues, "crm-worker.intake.events": {"durable": True}},
    )

    assert not list(broken(BEFORE, added))
