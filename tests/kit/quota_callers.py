"""Call the sandbox through the ledger, in a process of its own, as a worker's handlers do.

`python -m tests.kit.quota_callers <json of Calling>`. Prints what it saw as JSON at its end.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
import uvloop
from pydantic import SecretStr

from shared.errors import IntegrationError, RateLimited
from shared.storage.pool import connect
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.http import ZohoHttp, ZohoRequest
from shared.zoho.call.operation import Operation
from shared.zoho.call.tokens import Token
from shared.zoho.call.transport import open_transport
from shared.zoho.products.profiles import PROFILES
from shared.zoho.quota.limits import QuotaLimits
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Decision, Quota

READ = Operation("billing", "list_plans", "GET", repeatable=True)


@dataclass(frozen=True)
class Calling:
    """`priorities`: one task each, as often as named. A task calls `every_s`, or when it may."""

    database_url: str
    sandbox_url: str
    organization_id: str
    token: str
    calls: int
    window_s: float
    seconds: float
    priorities: Sequence[str]
    every_s: float = 0.0
    in_flight: int = 10


@dataclass
class Seen:
    """`waits_s`: of the granted, by priority. `errors`: by name."""

    waits_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    answered: int = 0

    def decided(self, decision: Decision) -> None:
        if decision.granted:
            self.waits_s[decision.call.priority.value].append(decision.waited_s)


class OneToken:
    """Stand in for `Tokens`, with a token that was minted before."""

    def __init__(self, token: str) -> None:
        self._token = Token(token, 9e9, "")

    async def get(self, _org: str) -> Token:
        return self._token

    async def replace(self, _org: str, _refused: Token) -> Token:
        return self._token

    def is_new(self, _token: Token) -> bool:
        return True


async def call(calling: Calling) -> Seen:
    seen = Seen()
    limits = QuotaLimits(calling.calls, calling.window_s, calling.in_flight, None, "UTC")
    async with (
        connect(SecretStr(calling.database_url), size=8) as pool,
        open_transport() as transport,
    ):
        http = ZohoHttp(
            transport,
            cast("Any", OneToken(calling.token)),
            Quota(pool, {"billing": limits}, observe=seen.decided),
            {"default": _endpoints(calling)},
            Breakers(),
        )
        until = time.monotonic() + calling.seconds
        await asyncio.gather(
            *(
                _call_until(http, Priority(priority), until, calling.every_s, seen)
                for priority in calling.priorities
            )
        )
    return seen


def _endpoints(calling: Calling) -> Endpoints:
    return Endpoints(
        PROFILES,
        overrides={"billing": f"{calling.sandbox_url}/billing/v1"},
        organization_ids={"billing": calling.organization_id},
    )


async def _call_until(
    http: ZohoHttp, priority: Priority, until: float, every_s: float, seen: Seen
) -> None:
    due = time.monotonic()
    while time.monotonic() < until:
        try:
            await http.call(ZohoRequest(READ, "/plans", READ.call("default", priority)))
            seen.answered += 1
        except IntegrationError as error:
            seen.errors[type(error).__name__] += 1
            wait_s = error.retry_after_s if isinstance(error, RateLimited) else 0.2
            await asyncio.sleep(min(wait_s, until - time.monotonic()))
        due += every_s
        await asyncio.sleep(max(due - time.monotonic(), 0.0) if every_s else 0.0)


def main() -> None:
    logging.disable()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    seen = uvloop.run(call(Calling(**json.loads(sys.argv[1]))))
    print(json.dumps(vars(seen)))


if __name__ == "__main__":
    main()
