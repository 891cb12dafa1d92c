"""Lease, settle and refill, in a process: `python -m tests.bench.leasers <json of Leasing>`.

Prints what it measured as JSON at its end.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import uvloop
from pydantic import SecretStr

from shared.messaging.inbox.leasing_at_once import NO_OFFER, lease_arguments
from shared.messaging.inbox.lines import LeasedMessage, Lines, MessageUpdate
from shared.messaging.inbox.statements import parameters
from shared.storage.pool import connect
from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.reservations import Reservations, limits_document

ROUTES: Final = {"a.v1": {"billing": 1}, "b.v1": {"crm": 1}}
_PLENTY: Final = QuotaLimits(calls=10_000_000, window_s=60, in_flight=10, credits=None, zone=None)
_ACCEPT: Final = f"SELECT count(*) FROM bench.accept_messages({parameters(35)})"  # noqa: S608


@dataclass(frozen=True)
class Leasing:
    database_url: str
    seconds: float
    name: str
    size: int = 64
    closed: bool = True


async def run(leasing: Leasing) -> dict[str, Any]:
    """Lease for so many seconds. What is settled is accepted anew, for a user of its own."""
    leases_ms: list[float] = []
    settled = 0
    async with connect(SecretStr(leasing.database_url), size=2) as pool:
        lines = Lines(pool, "bench")
        reservations = Reservations(pool, {"billing": _PLENTY, "crm": _PLENTY})
        limits = {product: limits_document(_PLENTY) for product in ("billing", "crm")}
        end = time.monotonic() + leasing.seconds
        while time.monotonic() < end:
            began = time.perf_counter()
            lease = await lines.lease(
                slots={0: 8, 1: leasing.size, 2: 8, 3: 8},
                limit=leasing.size,
                routes=ROUTES,
                orgs=["default"],
                closed=[("default", "crm", priority) for priority in range(4)]
                if leasing.closed
                else [],
                limits=limits,
                lease_s=30,
                idle=False,
            )
            leases_ms.append((time.perf_counter() - began) * 1e3)
            await _settle(pool, lines, lease.messages)
            await reservations.give_back(
                [one for message in lease.messages for one in message.reservations.values()]
            )
            await _refill(pool, f"{leasing.name}-{settled}", lease.messages)
            settled += len(lease.messages)
    return {"leases_ms": leases_ms, "settled": settled}


async def _settle(pool: asyncpg.Pool, lines: Lines, messages: list[LeasedMessage]) -> None:
    async with pool.acquire() as connection, connection.transaction():
        settled = await lines.settle(
            connection, [MessageUpdate(message.arrived, message.claim) for message in messages]
        )
    assert len(settled.won) == len(messages)


async def _refill(pool: asyncpg.Pool, prefix: str, messages: list[LeasedMessage]) -> None:
    count = len(messages)
    none: list[None] = [None] * count
    await pool.execute(
        _ACCEPT,
        ["default"] * count,
        ["zoho.commands"] * count,
        [message.routing_key for message in messages],
        none,
        [f"{prefix}-{at}" for at in range(count)],
        [message.body_mac for message in messages],
        [message.priority for message in messages],
        [f"{prefix}-{at}" for at in range(count)],
        none,
        *([] for _ in range(6)),
        [False] * count,
        [False] * count,
        *(none for _ in range(4)),
        *(none for _ in range(4)),
        ["{}"] * count,
        [message.body for message in messages],
        *lease_arguments(NO_OFFER),
        None,
    )


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(Leasing(**json.loads(sys.argv[1]))))))
