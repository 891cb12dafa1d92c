"""A killed replica costs the workers nothing. Each replica is a process of its own."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from pydantic import SecretStr

from deploy.local.ports import Ports
from shared.zoho.call.tokens import Tokens
from tests.token_service.conftest import KEY, RING, AccountsServer

ROOT = Path(__file__).parents[2]
COLD_WORKERS = 50


@dataclass
class Process:
    """A token-service that is ready, at `url`."""

    process: asyncio.subprocess.Process
    url: str

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


@pytest.fixture
async def two_replicas(
    database_url: str, accounts: AccountsServer, tmp_path: Path
) -> AsyncIterator[list[Process]]:
    ports = Ports(tmp_path / "ports.json", in_use=False)
    async with AsyncExitStack() as stack:
        start = _starter(stack, database_url, accounts, ports)
        yield list(await asyncio.gather(start("a"), start("b")))


def _starter(
    stack: AsyncExitStack,
    database_url: str,
    accounts: AccountsServer,
    ports: Ports,
) -> Callable[[str], Awaitable[Process]]:
    sandbox = accounts.world.settings

    async def start(name: str) -> Process:
        http, metrics = ports.of(f"{name} http"), ports.of(f"{name} metrics")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.token_service"),
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "ZOHO_RELAY_ENV_FILE": "",
                "DATABASE_URL": database_url,
                "ENCRYPTION_KEYS": RING,
                "TOKEN_SERVICE_KEY": KEY,
                "ZOHO_ACCOUNTS_URL": accounts.url,
                "ZOHO_CLIENT_ID": sandbox.client_id,
                "ZOHO_CLIENT_SECRET": sandbox.client_secret.get_secret_value(),
                "ZOHO_REFRESH_TOKEN": sandbox.refresh_token.get_secret_value(),
                "HTTP_HOST": "127.0.0.1",
                "HTTP_PORT": str(http),
                "METRICS_PORT": str(metrics),
            },
            stdout=asyncio.subprocess.DEVNULL,
        )
        stack.push_async_callback(_end, process)
        await _until_ready(metrics)
        return Process(process, f"http://127.0.0.1:{http}")

    return start


async def test_fifty_cold_workers_cost_two_mints_at_most_when_a_replica_is_killed_while_minting(
    two_replicas: list[Process], accounts: AccountsServer
) -> None:
    accounts.fault("hold", times=1)
    dying, other = two_replicas
    sent = asyncio.Semaphore(0)
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), trace_configs=[_releases(sent)]
    ) as session:
        # The first worker makes one replica mint; the others are spread over both.
        first = asyncio.create_task(_worker(session, dying, other).get("default"))
        await accounts.until_held()
        orders = [(dying, other), (other, dying)]
        rest = [
            asyncio.create_task(_worker(session, *orders[number % 2]).get("default"))
            for number in range(COLD_WORKERS - 1)
        ]
        for _ in range(COLD_WORKERS):
            await sent.acquire()

        await dying.kill()  # while Zoho has its request, and the workers wait

        tokens = await asyncio.gather(first, *rest)
        accounts.world.faults.clear()  # Zoho does what it was asked, though nobody waits for it
        await accounts.until_idle()

    assert len({token.access_token for token in tokens}) == 1
    assert len(accounts.requests) == 2
    assert accounts.mints <= 2


def _worker(session: aiohttp.ClientSession, *replicas: Process) -> Tokens:
    return Tokens(session, [replica.url for replica in replicas], SecretStr(KEY))


def _releases(sent: asyncio.Semaphore) -> aiohttp.TraceConfig:
    """Released once for each request that is written."""

    async def written(*_: object) -> None:
        sent.release()

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(written)
    return trace


async def _until_ready(metrics_port: int) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{metrics_port}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass  # not listening yet
            await asyncio.sleep(0.05)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        await process.wait()
