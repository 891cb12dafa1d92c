"""Test that the sandbox's state stays whole under concurrent writes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.server.request_log import RequestLog
from services.zoho_sandbox.server.state_file import StateFile
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings


def a_world() -> World:
    world = World(SandboxSettings(), RequestLog(lambda _line: None))
    create_app(world)  # the products define their tables
    return world


async def test_a_stop_while_the_state_is_written_keeps_the_newest(tmp_path: Path) -> None:
    state, world = tmp_path / "state.json", a_world()
    file = StateFile(state, world)
    customers = world.table("billing", "customers")
    customers.load([{"customer_id": "1", "notes": "x" * 60_000_000}])
    saver = asyncio.create_task(file.save_on_change())
    while not state.with_suffix(".json.new").exists():  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0)

    customers.load([{"customer_id": "2", "notes": "the newest"}])
    saver.cancel()
    with suppress(asyncio.CancelledError):
        await saver

    restored = a_world()
    StateFile(state, restored).restore()
    assert [row["customer_id"] for row in restored.table("billing", "customers")] == ["1", "2"]


async def test_what_is_loaded_is_not_undone_by_an_older_change_that_lags() -> None:
    world = a_world()
    world.lag_s["crm"] = 3600.0
    contacts = world.table("crm", "contacts")
    contacts.add({"id": "1", "Email": "before@example.com"})
    contacts.add({"id": "2", "Email": "gone@example.com"})
    contacts.remove("2")

    contacts.load([{"id": "1", "Email": "loaded@example.com"}, {"id": "2", "Email": "back"}])
    world.lag_s["crm"] = 0.0

    assert [row["Email"] for row in contacts.searched()] == ["loaded@example.com", "back"]
