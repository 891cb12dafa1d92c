"""Test the sandbox as a process: it starts, keeps its state, prints no customer data, and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from deploy.local.ports import Ports
from services.zoho_sandbox.driver import SandboxDriver

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def running(
    port: int, state: Path, *, end: signal.Signals = signal.SIGTERM
) -> AsyncIterator[SandboxDriver]:
    """Run a sandbox process, and end it by this signal."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.zoho_sandbox",
        cwd=ROOT,
        env={**os.environ, "SANDBOX_PORT": str(port), "SANDBOX_STATE_FILE": str(state)},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with SandboxDriver(f"http://127.0.0.1:{port}") as driver:
            await _until_it_answers(driver)
            yield driver
    finally:
        process.send_signal(end)
        await process.communicate()
    assert process.returncode == (0 if end is signal.SIGTERM else -end)


async def _until_it_answers(driver: SandboxDriver) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            try:
                async with session.get(f"{driver.url}/healthz") as answer:
                    assert answer.status == 200
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)


async def test_records_and_targets_outlive_the_process(tmp_path: Path) -> None:
    port = Ports(tmp_path / "ports.json", in_use=False).of("sandbox")
    state = tmp_path / "state.json"
    customer = {"customer_id": "460000000000000001", "display_name": "A", "email": "a@example.com"}
    async with running(port, state) as first:
        await first.load({"billing": {"customers": [customer]}})
        # The discard port: no delivery arrives, and the test needs only the target.
        await first.set_targets(billing={"url": "http://127.0.0.1:9/hooks", "secret": "s"})

    async with running(port, state) as second:
        assert await second.records("billing", "customers") == [customer]
        await second.billing_event("card_expired", {})
        assert [one["url"] for one in await second.deliveries()] == ["http://127.0.0.1:9/hooks"]
        await second.reset()
        assert await second.records("billing", "customers") == []


async def test_what_was_answered_outlives_a_kill_at_once(tmp_path: Path) -> None:
    port = Ports(tmp_path / "ports.json", in_use=False).of("sandbox")
    state = tmp_path / "state.json"
    ids = [f"46000000000000000{n}" for n in range(1, 10)]
    async with running(port, state, end=signal.SIGKILL) as first:
        for customer_id in ids:
            await first.load({"billing": {"customers": [{"customer_id": customer_id}]}})
        await first.set_targets(billing={"url": "http://127.0.0.1:9/hooks", "secret": "s"})

    async with running(port, state, end=signal.SIGKILL) as second:
        kept = await second.records("billing", "customers")
        assert [customer["customer_id"] for customer in kept] == ids
        await second.billing_event("card_expired", {})
        assert [one["url"] for one in await second.deliveries()] == ["http://127.0.0.1:9/hooks"]
        await second.reset()
        await second.load({"crm": {"contacts": [{"id": "4870000000000000001"}]}})

    async with running(port, state) as third:
        assert await third.records("billing", "customers") == []
        assert [row["id"] for row in await third.records("crm", "contacts")] == [
            "4870000000000000001"
        ]


async def test_only_its_owner_may_read_what_the_sandbox_keeps(tmp_path: Path) -> None:
    port = Ports(tmp_path / "ports.json", in_use=False).of("sandbox")
    state = tmp_path / "state" / "state.json"
    state.parent.mkdir()
    old_mask = os.umask(0o022)
    try:
        for _ in range(2):  # made anew, and found again
            async with running(port, state) as sandbox:
                await sandbox.set_targets(billing={"url": "http://127.0.0.1:9/h", "secret": "s"})
                modes = {file.stat().st_mode & 0o777 for file in state.parent.iterdir()}
                assert modes == {0o600}
            assert {file.stat().st_mode & 0o777 for file in state.parent.iterdir()} == {0o600}
    finally:
        os.umask(old_mask)


async def test_a_bad_setting_is_named() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.zoho_sandbox",
        cwd=ROOT,
        env={**os.environ, "SANDBOX_PORT": "far"},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip

    _, printed = await process.communicate()

    assert process.returncode == 2
    assert b"SANDBOX_PORT" in printed
