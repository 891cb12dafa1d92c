"""Kill workers at every step of an effect, for everything that is made once at Zoho."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos.effect_creates import BILLING, CRM, DESK, Create, prepare
from tests.chaos.effect_gates import Gates, gates_of

# With the start of the whole system, and every wait of a test after it.
pytestmark = pytest.mark.timeout(900)

WORKERS = (BILLING, CRM, DESK)
SETTLED_WITHIN_S = 120


@pytest.fixture
async def gates(stack: Stack) -> AsyncIterator[Gates]:
    async with gates_of(stack) as opened:
        yield opened


@dataclass
class Scene:
    """The creates, and what is known of them from outside."""

    stack: Stack
    stage: SystemDriver
    gates: Gates
    creates: Sequence[Create]
    began: int = 0

    @property
    def journalled(self) -> list[str]:
        return [one.business_id for one in self.creates if one.business_id is not None]

    async def ask(self) -> None:
        seen = await self.stage.sandbox.requests()
        self.began = seen[-1]["id"]
        for one in self.creates:
            await one.publish(self.stage)

    async def hold_all(self, kind: str) -> None:
        for one in self.creates:
            await self.hold(one, kind)

    async def hold(self, one: Create, kind: str, operation: str | None = None) -> None:
        await self.stage.sandbox.fault(
            one.product, kind, operation=operation or one.operation, times=1
        )

    async def until_held(self, creates: Sequence[Create], operation: str | None = None) -> None:
        for one in creates:
            await self.stage.sandbox.wait_until_held(one.product, operation or one.operation)

    async def made(self) -> dict[str, int]:
        state = await self.stage.sandbox.state()
        return {one.name: one.count(state) for one in self.creates}

    async def written(self) -> set[str]:
        """Return the creations whose request Zoho has received since they were asked for."""
        requests = await self.stage.sandbox.requests(since=self.began)
        seen = {(r["product"], r["operation"]) for r in requests}
        return {one.name for one in self.creates if (one.product, one.operation) in seen}

    async def inbox(self) -> Counter[str]:
        rows = [await self.gates.inbox(one.schema, one.message_id) for one in self.creates]
        return Counter(state for state, _ in rows)

    async def effects(self) -> Counter[str]:
        return Counter(await self.gates.effects(self.journalled))

    def invoice(self) -> Create:
        return next(one for one in self.creates if one.business_id is None)

    async def until_stored(self) -> None:
        """Every result is committed, and the invoice is at Zoho."""
        wanted = {"done": len(self.journalled)}
        async with asyncio.timeout(90):
            while await self.effects() != wanted or not all((await self.made()).values()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    def kill(self) -> dict[str, int]:
        return {worker: self.stack.kill(worker) for worker in WORKERS}

    async def outcomes(self, killed: dict[str, int]) -> dict[str, str]:
        """Return the outcome of each command, once later workers have settled them all."""
        for worker, pid in killed.items():
            await asyncio.to_thread(self.stack.wait_ready, worker, not_pid=pid)
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while set(await self.inbox()) - {"done", "given_up"}:  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        rows = {
            one.name: await self.gates.inbox(one.schema, one.message_id) for one in self.creates
        }
        return {name: code or state for name, (state, code) in rows.items()}


@pytest.fixture
async def scene(stack: Stack, stage: SystemDriver, gates: Gates) -> Scene:
    stage.patience_s = 120.0
    return Scene(stack, stage, gates, await prepare(stage))


def everything(scene: Scene, count: int, **but: int) -> dict[str, int]:
    return {one.name: but.get(one.name, count) for one in scene.creates}


async def each_is_made_once(scene: Scene, killed: dict[str, int], **but: str) -> None:
    """And its command done. `but` names what ends otherwise, and is then not made."""
    outcomes = await scene.outcomes(killed)
    assert await scene.made() == everything(scene, 1, **dict.fromkeys(but, 0))
    assert outcomes == {one.name: but.get(one.name, "done") for one in scene.creates}


@pytest.mark.chaos
async def test_killed_before_the_intent_is_committed(scene: Scene) -> None:
    # The invoice has no intent: its worker dies at the read that comes before its call.
    await scene.hold(scene.invoice(), "hold", "list_contacts")
    await scene.gates.close("intent", scene.journalled)
    await scene.ask()
    await scene.gates.until_waiting(len(scene.journalled))
    await scene.until_held([scene.invoice()], "list_contacts")

    killed = scene.kill()
    assert await scene.inbox() == {"claimed": len(scene.creates)}
    await scene.gates.cut_off()
    assert await scene.effects() == {}
    assert await scene.written() == set()
    await scene.stage.sandbox.clear_faults()

    await each_is_made_once(scene, killed)


@pytest.mark.chaos
async def test_killed_after_the_intent_before_the_call(scene: Scene) -> None:
    # The invoice has no intent: its worker dies with the call on its way.
    await scene.hold(scene.invoice(), "hold_reset")
    await scene.gates.close("intent", scene.journalled)
    await scene.ask()
    await scene.gates.until_waiting(len(scene.journalled))
    await scene.until_held([scene.invoice()])

    # Frozen, so that nobody hears that the intents are committed. No call can follow.
    for worker in WORKERS:
        pid = scene.stack.pid(worker)
        assert pid is not None, f"{worker} is down"
        os.kill(pid, signal.SIGSTOP)
    await scene.gates.open()
    async with asyncio.timeout(90):
        while await scene.effects() != {"intended": len(scene.journalled)}:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    killed = scene.kill()
    assert await scene.written() == {"invoice"}
    assert await scene.made() == everything(scene, 0)
    await scene.stage.sandbox.clear_faults()

    # A charge that is not to be seen is no proof that none was made: a person looks. What was not
    # given back is proof, because every refund shows on its payment.
    await each_is_made_once(scene, killed, collect="outcome_unknown")


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("moment", "already", "unknown"),
    [
        pytest.param("hold_reset", 0, {"collect": "outcome_unknown"}, id="and it is never done"),
        pytest.param("hold", 0, {}, id="and it is done after the death"),
        pytest.param("hold_after", 1, {}, id="when it is done already"),
    ],
)
async def test_killed_while_zoho_has_the_call(
    scene: Scene, moment: str, already: int, unknown: dict[str, str]
) -> None:
    await scene.hold_all(moment)
    await scene.ask()
    await scene.until_held(scene.creates)

    killed = scene.kill()
    held = await scene.stage.sandbox.requests(since=scene.began)
    assert Counter(_call_of(r) for r in held if r["held"]) == Counter(
        (one.product, one.operation) for one in scene.creates
    )
    assert await scene.effects() == {"intended": len(scene.journalled)}
    assert await scene.made() == everything(scene, already)
    await scene.stage.sandbox.clear_faults()

    await each_is_made_once(scene, killed, **unknown)


async def test_killed_before_the_result_is_stored(scene: Scene) -> None:
    # The invoice has no result of its own: its worker dies before the message is settled.
    await scene.gates.close("result", scene.journalled)
    await scene.gates.name("settle", [scene.invoice().message_id])
    await scene.ask()
    await scene.gates.until_waiting(len(scene.creates))

    killed = scene.kill()
    assert await scene.effects() == {"intended": len(scene.journalled)}
    assert await scene.inbox() == {"claimed": len(scene.creates)}
    assert await scene.made() == everything(scene, 1)
    await scene.gates.cut_off()

    await each_is_made_once(scene, killed)


@pytest.mark.chaos
async def test_killed_after_the_result_before_the_message_is_settled(scene: Scene) -> None:
    await scene.gates.close("settle", [one.message_id for one in scene.creates])
    await scene.ask()
    await scene.until_stored()
    # Messages are settled in groups, one group at a time: one of each worker waits.
    await scene.gates.until_waiting(len(WORKERS))

    killed = scene.kill()
    assert await scene.inbox() == {"claimed": len(scene.creates)}
    await scene.gates.cut_off()

    await each_is_made_once(scene, killed)


def _call_of(request: Json) -> tuple[str, str]:
    return request["product"], request["operation"]
