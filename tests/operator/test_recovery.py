"""Test `zoho-relay recover` as an operator types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.errors import NotYetKnown
from shared.storage.recoveries import Recoveries
from tests.operator.conftest import Desk, until


async def _status(desk: Desk) -> dict[str, Any]:
    shown = await desk.ask("recover", "status", "--json")
    assert shown.code == 0
    status: dict[str, Any] = json.loads(shown.out)
    return status


async def _presumed(desk: Desk, business_id: str, state: str, *, found: bool = False) -> None:
    """An effect that was looked for in the latest recovery, and cost two calls."""
    await desk.pool.execute(
        """
        INSERT INTO relay.effects (org, operation, business_id, product, state, write_until,
                                   look_after, result, recovery, presumed, recovery_found,
                                   recovery_calls)
        SELECT 'default', 'create_customer', $1, 'billing', $2, now(), now(),
               CASE WHEN $2 = 'done' THEN '\\x00'::bytea END, max(id), $2 = 'intended', $3,
               CASE WHEN $2 = 'intended' THEN 0 ELSE 2 END
        FROM relay.recoveries
        """,
        business_id,
        state,
        found,
    )


async def test_a_recovery_shows_what_it_found_and_what_it_costs(desk: Desk) -> None:
    since = datetime.now(UTC) - timedelta(hours=2)
    begun = await desk.ask("recover", "begin", "--since", since.isoformat(), "--search-days", "3")
    await _presumed(desk, "u1", "done", found=True)
    await _presumed(desk, "u2", "done")
    await _presumed(desk, "u3", "unknown")
    await _presumed(desk, "u4", "intended")

    status = await _status(desk)

    assert begun.code == 0
    assert status["recovery"]["state"] == "open"
    assert datetime.fromisoformat(status["recovery"]["since"]) == since
    (row,) = status["effects"]
    assert row == {
        "product": "billing",
        "operation": "create_customer",
        "looked_for": 4,
        "found": 1,
        "made": 1,
        "absent": 0,
        "looking": 1,
        "unclear": 1,
        "calls": 6,
        "calls_to_come": 2,
    }
    shown = await desk.ask("recover", "status")
    assert "create_customer" in shown.out


async def test_a_recovery_is_not_ended_while_something_is_unclear(desk: Desk) -> None:
    since = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    await desk.ask("recover", "begin", "--since", since)
    await _presumed(desk, "u3", "unknown")

    refused = await desk.ask("recover", "end")
    forced = await desk.ask("recover", "end", "--force")

    assert (refused.code, forced.code) == (1, 0)
    assert "unclear" in refused.err
    assert (await _status(desk))["recovery"]["state"] == "ended"
    assert (await desk.ask("recover", "end")).code == 1


async def test_a_recovery_is_not_ended_while_a_command_waits_that_nobody_looked_for(
    desk: Desk,
) -> None:
    async def wait_for_user(message: Any, work: Any) -> None:
        raise NotYetKnown("the user is not known", kind="user", key="u1", code="unknown_user")

    since = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    async with desk.worker({"user.updated.v1": wait_for_user}) as worker:
        await until(worker.ready)
        await desk.ask("recover", "begin", "--since", since)
        await desk.send("user.updated.v1", "m1", user_id="u1", full_name="Ada")

        refused = await desk.ask("recover", "end")
        forced = await desk.ask("recover", "end", "--force")

    assert (refused.code, forced.code) == (1, 0)
    assert "1 commands are open" in refused.err


@pytest.mark.parametrize(
    "since",
    ["yesterday", "2026-01-01T00:00:00", "2199-01-01T00:00:00Z"],
    ids=["no time", "no zone", "in the future"],
)
async def test_a_time_of_the_backup_that_cannot_be_right_is_refused(desk: Desk, since: str) -> None:
    refused = await desk.ask("recover", "begin", "--since", since)

    assert refused.code == 2
    assert "--since" in refused.err
    assert (await _status(desk))["recovery"] is None


async def test_work_that_stands_is_shown_and_answered(desk: Desk) -> None:
    await Recoveries(desk.pool).notice("billing-worker", "the database is older")

    shown = await desk.ask("recover", "status")
    examined = await desk.ask("doctor", "--json")
    answered = await desk.ask("recover", "none")

    assert "Work stands" in shown.out
    assert [finding["state"] for finding in examined.rows if finding.get("check") == "restore"] == [
        "wrong"
    ]
    assert answered.code == 0
    assert not await Recoveries(desk.pool).awaits_answer()
    assert (await _status(desk))["recovery"]["state"] == "not_needed"
