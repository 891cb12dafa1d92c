"""Kill the worker and lose answers while money moves: it moves once, and the end is known."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos.effect_gates import Gates, gates_of
from tests.chaos.money_runs import HELD, MoneyRun, batches, prepared
from tests.kit.scrape import total

# With the start of the whole system, and every wait of a test after it.
pytestmark = pytest.mark.timeout(900)

WORKER = "billing-worker"
RUNS = 100
SETTLED_WITHIN_S = 120


@pytest.fixture
async def gates(stack: Stack) -> AsyncIterator[Gates]:
    async with gates_of(stack) as opened:
        yield opened


async def test_money_moves_once_whatever_happens_meanwhile(
    stack: Stack, stage: SystemDriver, gates: Gates
) -> None:
    runs = [
        MoneyRun("collect", "timeout_after"),
        MoneyRun("collect", "hold_after"),
        MoneyRun("collect", "hold_reset"),
        MoneyRun("decline", "result"),
        MoneyRun("decline", "settle"),
        MoneyRun("decline", "hold_after"),
        MoneyRun("refund", "reset_after"),
        MoneyRun("refund", "hold_reset"),
    ]
    await each_ends_as_it_has_to(stack, stage, gates, runs)


@pytest.mark.chaos
async def test_money_moves_once_in_a_hundred_runs(
    stack: Stack, stage: SystemDriver, gates: Gates
) -> None:
    seed = int(os.environ.get("MONEY_SEED", random.SystemRandom().randrange(10**6)))
    print(f"\nMONEY_SEED={seed}")
    ends: Counter[tuple[str, str, str]] = Counter()
    for batch in batches(RUNS, 8, seed):
        ends += await each_ends_as_it_has_to(stack, stage, gates, batch)

    assert ends.total() == RUNS
    for (kind, moment, end), count in sorted(ends.items()):
        print(f"{kind:8} {moment:14} {end:16} {count}")


async def each_ends_as_it_has_to(
    stack: Stack, stage: SystemDriver, gates: Gates, runs: Sequence[MoneyRun]
) -> Counter[tuple[str, str, str]]:
    """Disturb all runs at their moments, kill the worker at once, and look how each ends."""
    stage.patience_s = 120.0
    await prepared(stage, runs)
    results = [run.business_id for run in runs if run.moment == "result"]
    settlements = [run.message_id for run in runs if run.moment == "settle"]
    await gates.close("result", results)
    await gates.name("settle", settlements)
    for run in runs:
        await run.ask(stage)
    await until_held(stage, [run for run in runs if run.moment in HELD])
    await gates.until_waiting(len(results) + len(settlements))

    killed = stack.kill(WORKER)
    await stage.sandbox.clear_faults()
    await gates.cut_off()
    await asyncio.to_thread(stack.wait_ready, WORKER, not_pid=killed)

    ends = await settled(gates, runs)
    state = await stage.sandbox.state()
    found = {run.user_id: (ends[run.user_id], *run.moved(state)) for run in runs}
    assert found == {run.user_id: run.expected for run in runs}, runs
    for run in runs:
        await announced(stage, run, ends[run.user_id])
    # The alert OutcomeUnknown counts these. The worker that gave them up has run since the kill.
    unknown = sum(end == "outcome_unknown" for end in ends.values())
    assert total(stack, WORKER, "dead_letters_total", code="outcome_unknown") == unknown
    return Counter((run.kind, run.moment, ends[run.user_id]) for run in runs)


async def until_held(stage: SystemDriver, runs: Sequence[MoneyRun]) -> None:
    """Zoho has the call of each of these runs, and does not answer it."""
    missing = {run.mark: run for run in runs}
    for _ in range(600):
        for row in await stage.sandbox.requests(product="billing"):
            missing = {m: run for m, run in missing.items() if not (row["held"] and m in str(row))}
        if not missing:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"these were not held: {list(missing.values())}")


async def settled(gates: Gates, runs: Sequence[MoneyRun]) -> dict[str, str]:
    """The state or the code of each command, once later workers have settled them all."""
    async with asyncio.timeout(SETTLED_WITHIN_S):
        while True:
            rows = [await gates.inbox("billing", run.message_id) for run in runs]
            if {state for state, _ in rows} <= {"done", "given_up"}:
                break
            await asyncio.sleep(0.2)
    return {run.user_id: code or state for run, (state, code) in zip(runs, rows, strict=True)}


async def announced(stage: SystemDriver, run: MoneyRun, end: str) -> None:
    """Check that the application was informed once of what happened."""
    if end == "outcome_unknown":
        await stage.event("command.failed.v1", message_id=run.message_id, code=end)
    elif run.kind != "refund":
        outcome = "failed" if run.kind == "decline" else "succeeded"
        await stage.event(f"payment.{outcome}.v1", invoice_id=run.invoice_id)
        assert len(once(stage.events, run, outcome)) == 1


def once(events: Sequence[tuple[str, Json]], run: MoneyRun, outcome: str) -> set[str]:
    """The ids of these events. A subscriber drops an id that it has had."""
    return {
        event["event_id"]
        for key, event in events
        if key == f"payment.{outcome}.v1" and event["invoice_id"] == run.invoice_id
    }
