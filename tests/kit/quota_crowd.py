"""Start many worker processes beside one sandbox that counts their calls."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.driver import SandboxDriver
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings
from tests.kit.quota_callers import Calling

LANES = ("urgent", "commands", "reads", "backfill")


@dataclass
class Crowd:
    """The sandbox's limit is the ledger's: `calls` in any `window_s` seconds."""

    database_url: str
    sandbox: SandboxDriver
    organization_id: str
    token: str
    calls: int
    window_s: float
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def join(self, seconds: float, *priorities: str, every_s: float = 0.0) -> Any:
        """One more process that calls at these priorities."""
        calling = Calling(
            database_url=self.database_url,
            sandbox_url=self.sandbox.url,
            organization_id=self.organization_id,
            token=self.token,
            calls=self.calls,
            window_s=self.window_s,
            seconds=seconds,
            priorities=priorities,
            every_s=every_s,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.kit.quota_callers",
            json.dumps(asdict(calling)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.processes.append(process)
        return process

    async def seen(self, process: asyncio.subprocess.Process) -> dict[str, Any]:
        """Return what the process saw, once it has ended."""
        out, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"a caller ended with {process.returncode}: {out[-2000:].decode()}")
        return dict(json.loads(out.splitlines()[-1]))

    async def arrivals(self) -> list[datetime]:
        """Return the time of each call that counts, at Zoho."""
        requests = await self.sandbox.requests(product="billing")
        return [datetime.fromisoformat(r["time"]) for r in requests if r["status"] != 429]

    async def refused(self) -> int:
        """Calls that were too many, as Zoho counts."""
        meter = (await self.sandbox.limits())["billing"]
        return int(sum(meter["refused"].values()))


def most_in_a_window(arrivals: list[datetime], window_s: float) -> int:
    most, window, inside = 0, timedelta(seconds=window_s), deque[datetime]()
    for moment in sorted(arrivals):
        inside.append(moment)
        while inside[0] <= moment - window:
            inside.popleft()
        most = max(most, len(inside))
    return most


@asynccontextmanager
async def crowd(
    database_url: str, *, calls: int, window_s: float, answer_s: float = 0.0
) -> AsyncIterator[Crowd]:
    """`answer_s`: how long the sandbox takes over each call. What is left running is ended."""
    settings = SandboxSettings(port=0)
    server = TestServer(create_app(World(settings)), host="127.0.0.1")
    await server.start_server()
    url = str(server.make_url("")).rstrip("/")
    try:
        async with SandboxDriver(url) as sandbox:
            await sandbox.set_limits("billing", minute=calls, window_s=window_s)
            if answer_s:
                await sandbox.fault("billing", "slow", delay_s=answer_s)
            token = await _token(url, settings)
            together = Crowd(
                database_url, sandbox, settings.organization_id, token, calls, window_s
            )
            try:
                yield together
            finally:
                for process in together.processes:
                    if process.returncode is None:
                        process.kill()
                        await process.wait()
    finally:
        await server.close()


async def _token(url: str, settings: SandboxSettings) -> str:
    form = {
        "grant_type": "refresh_token",
        "client_id": settings.client_id,
        "client_secret": settings.client_secret.get_secret_value(),
        "refresh_token": settings.refresh_token.get_secret_value(),
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/accounts/oauth/v2/token", data=form) as answer,
    ):
        return str((await answer.json())["access_token"])
