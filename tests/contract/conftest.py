"""Run our typed clients on real connections, beside a sandbox in the same process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
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
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.billing.settings import BillingFields
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.settings import BooksFields
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.settings import CrmFields
from shared.zoho.products.desk.client import ZohoDesk
from shared.zoho.products.desk.settings import DeskOrganization
from shared.zoho.products.profiles import PROFILES
from shared.zoho.products.setup import ZohoSetup
from tests.contract.exchanges import Exchange, ours, size
from tests.contract.openapi import zohos_files
from tests.contract.plugin import VARIABLE
from tests.contract.report import Report, compare
from tests.contract.tables import our_tables
from tests.kit.sandbox_client import Zoho
from tests.kit.zoho_access import CountingQuota, SandboxToken

# What needs Zoho's own files. One test of the others skips where they are not, and says so.
collect_ignore = [] if zohos_files() else ["test_zohos_files.py"]


@dataclass
class Clients:
    """`raw` asks the sandbox as somebody else. What it sends is not compared."""

    http: ZohoHttp
    billing: ZohoBilling
    books: ZohoBooks
    crm: ZohoCrm
    desk: ZohoDesk
    setup: ZohoSetup
    sandbox: SandboxDriver
    raw: Zoho
    sent: Callable[[], list[Exchange]]

    def report(self) -> Report:
        """Compare what these clients have sent."""
        return compare(self.sent(), our_tables(), zohos_files())


@asynccontextmanager
async def clients_beside(record: Path) -> AsyncIterator[Clients]:
    """Clients of a sandbox of their own, whose exchanges go to `record`."""
    world = World(SandboxSettings(record=record), RequestLog(lambda _line: None))
    settings = world.settings
    start = size(record)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TestServer(create_app(world)))
        url = str(server.make_url("")).rstrip("/")
        driver = await stack.enter_async_context(SandboxDriver(url))
        await driver.set_lag(integration=0)
        raw = Zoho(url, await stack.enter_async_context(aiohttp.ClientSession()), world)
        raw.token = (await raw.mint()).body["access_token"]
        endpoints = Endpoints(
            PROFILES,
            overrides={
                "billing": f"{url}/billing/v1",
                "books": f"{url}/books/v3",
                "crm": f"{url}/crm",
                "desk": f"{url}/desk/api/v1",
            },
            organization_ids={
                "billing": settings.organization_id,
                "books": settings.books_organization,
                "desk": settings.desk_org_id,
            },
        )
        http = ZohoHttp(
            await stack.enter_async_context(open_transport()),
            cast("Any", SandboxToken(raw.token)),
            cast("Any", CountingQuota()),
            {"default": endpoints},
            Breakers(),
        )
        fields = BillingFields(zoho_billing_user_field="cf_app_user_id")
        of_desk = DeskOrganization(
            zoho_desk_org_id=settings.desk_org_id,
            zoho_desk_department_id=settings.desk_department_id,
            zoho_desk_escalation_field="cf_app_escalation_id",
        )
        of_crm = CrmFields(zoho_crm_user_field="App_User_Id", zoho_crm_tier_field="App_Tier")
        host = f"{server.host}:{server.port}"

        def sent() -> list[Exchange]:
            # Other sandboxes of this run may write to the same record.
            return [one for one in ours(record, start=start) if one.headers["host"] == host]

        yield Clients(
            http,
            ZohoBilling(http, fields),
            ZohoBooks(http, BooksFields(zoho_books_invoice_field="cf_app_invoice_id")),
            ZohoCrm(http, of_crm),
            ZohoDesk(http, of_desk),
            ZohoSetup(http),
            driver,
            raw,
            sent,
        )


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    """Their requests count among those of the run."""
    async with clients_beside(Path(os.environ[VARIABLE])) as clients:
        yield clients
