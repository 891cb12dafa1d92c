"""Test that the ledger books for Desk's lists what Desk counts, on every page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import aiohttp
import asyncpg
import pytest
from aiohttp.test_utils import TestServer

from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.driver import SandboxDriver
from services.zoho_sandbox.server.request_log import RequestLog
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.http import ZohoHttp
from shared.zoho.call.transport import open_transport
from shared.zoho.products.desk.client import ZohoDesk
from shared.zoho.products.desk.settings import DeskOrganization
from shared.zoho.products.profiles import PROFILES
from shared.zoho.quota.quota import Quota
from tests.kit.sandbox_client import Zoho
from tests.kit.zoho_access import SandboxToken

MADE_AT = "2026-03-01T12:00:00.000Z"
DAY = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
ENOUGH = 2_101  # two pages beyond row 2,000
PAGES_NEAR, PAGES_FAR = 21, 1


@dataclass
class Asked:
    desk: ZohoDesk
    sandbox: SandboxDriver
    pool: asyncpg.Pool

    async def counted_by_desk(self) -> int:
        return int((await self.sandbox.limits())["desk"]["day_used"])

    async def booked(self) -> int:
        return int(await self.pool.fetchval("SELECT sum(credits) FROM relay.quota_spent"))


@pytest.fixture
async def asked(ledger_pool: asyncpg.Pool) -> AsyncIterator[Asked]:
    world = World(SandboxSettings(), RequestLog(lambda _line: None))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TestServer(create_app(world)))
        url = str(server.make_url("")).rstrip("/")
        zoho = Zoho(url, await stack.enter_async_context(aiohttp.ClientSession()), world)
        tokens = SandboxToken((await zoho.mint()).body["access_token"])
        http = ZohoHttp(
            await stack.enter_async_context(open_transport()),
            cast("Any", tokens),
            Quota(ledger_pool, {"desk": PROFILES["desk"].quota.limits(plan="enterprise")}),
            {
                "default": Endpoints(
                    PROFILES,
                    overrides={"desk": f"{url}/desk/api/v1"},
                    organization_ids={"desk": world.settings.desk_org_id},
                )
            },
            Breakers(),
        )
        desk = ZohoDesk(http, DeskOrganization(zoho_desk_org_id="1", zoho_desk_department_id="1"))
        driver = await stack.enter_async_context(SandboxDriver(url))
        await driver.set_limits("desk", reset_in_s=86_400.0)  # no midnight while it counts
        yield Asked(desk, driver, ledger_pool)


def ticket(number: int) -> dict[str, Any]:
    return {
        "id": f"20{number:016d}",
        "ticketNumber": str(number),
        "status": "Open",
        "statusType": "Open",
        "contactId": "0",
        "isTrashed": False,
        "isSpam": False,
        "createdTime": MADE_AT,
        "modifiedTime": MADE_AT,
    }


async def test_a_search_costs_more_beyond_row_2000(asked: Asked) -> None:
    await asked.sandbox.load({"desk": {"tickets": [ticket(n) for n in range(ENOUGH)]}})

    found = [row async for row in asked.desk.tickets_modified(*DAY)]

    assert len(found) == ENOUGH
    assert await asked.counted_by_desk() == PAGES_NEAR * 3 + PAGES_FAR * 5
    assert await asked.booked() == await asked.counted_by_desk()


async def test_a_list_costs_more_beyond_row_2000(asked: Asked) -> None:
    one = ticket(1)
    comments = [
        {"id": f"20{n:016d}", "ticketId": one["id"], "content": "x", "isPublic": False}
        for n in range(ENOUGH)
    ]
    await asked.sandbox.load({"desk": {"tickets": [one], "comments": comments}})

    found = await asked.desk.comments_of(one["id"])

    assert len(found) == ENOUGH
    # Lists count from 1: the page from 2,001 on is dear already.
    assert await asked.counted_by_desk() == (PAGES_NEAR - 1) * 3 + (PAGES_FAR + 1) * 5
    assert await asked.booked() == await asked.counted_by_desk()
