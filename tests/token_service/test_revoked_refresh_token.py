"""A refresh token revoked at Zoho stops calls, shows in metrics, and recovers by itself."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from pydantic import SecretStr

from shared.errors import Misconfigured
from shared.observability.metrics import Metrics
from shared.storage import pool as storage
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.http import ZohoHttp
from shared.zoho.call.observers import ZohoMetrics
from shared.zoho.call.operation import Operation
from shared.zoho.call.tokens import Tokens
from shared.zoho.call.transport import open_transport
from shared.zoho.products.profiles import PROFILES
from shared.zoho.quota.quota import Quota
from tests.kit.zoho_access import request_of
from tests.token_service.conftest import KEY, AccountsServer, Replica

LIST = Operation("billing", "list_customers", "GET")


class Worker:
    """A worker's access to Billing. Its clock can be moved past a breaker's pause."""

    def __init__(self, http: ZohoHttp, metrics: Metrics) -> None:
        self._http = http
        self.metrics = metrics
        self.skipped_s = 0.0

    async def list_customers(self) -> None:
        await self._http.call(request_of(LIST, "/customers"))

    def exposes(self, line: str) -> bool:
        return line in self.metrics.render().decode()


@pytest.fixture
async def worker(
    accounts: AccountsServer, replica: Replica, database_url: str
) -> AsyncIterator[Worker]:
    endpoints = Endpoints(
        PROFILES,
        overrides={"billing": accounts.url.removesuffix("/accounts") + "/billing/v1"},
        organization_ids={"billing": accounts.world.settings.organization_id},
    )
    metrics = Metrics("billing-worker")
    async with (
        aiohttp.ClientSession() as session,
        open_transport() as transport,
        storage.connect(SecretStr(database_url), size=2) as pool,
    ):
        breakers = Breakers(
            observe=ZohoMetrics(metrics).breaker, clock=lambda: made.skipped_s, first_pause_s=15.0
        )
        http = ZohoHttp(
            transport,
            Tokens(session, [replica.url], SecretStr(KEY)),
            Quota(pool, {"billing": PROFILES["billing"].quota.limits()}),
            {"default": endpoints},
            breakers,
        )
        made = Worker(http, metrics)
        yield made


def billing_calls(accounts: AccountsServer) -> int:
    return sum(request.product == "billing" for request in accounts.requests)


def revoke(accounts: AccountsServer) -> None:
    """Revoke as Zoho does: the access tokens made from it become invalid too."""
    accounts.revoke_refresh_token()
    tokens = accounts.world.table("accounts", "tokens")
    for token in list(tokens):
        tokens.save({**token, "status": "revoked"})


OPEN = 'zoho_breaker_open{cause="refresh_token_dead",org="default",product="accounts"} 1.0'


async def test_a_revoked_refresh_token_stops_calls_within_one_attempt(
    worker: Worker, accounts: AccountsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    await worker.list_customers()
    revoke(accounts)
    before = billing_calls(accounts), len(accounts.requests)

    for _ in range(5):
        with pytest.raises(Misconfigured) as raised:
            await worker.list_customers()
        assert raised.value.cause == "refresh_token_dead"

    assert billing_calls(accounts) - before[0] == 1
    assert len(accounts.requests) - before[1] == 2  # and one attempt to get another token
    assert worker.exposes(OPEN)
    assert "refresh_token_dead" in capfd.readouterr().out


async def test_the_first_refused_call_already_pauses_the_queues(
    worker: Worker, accounts: AccountsServer
) -> None:
    await worker.list_customers()
    revoke(accounts)
    with pytest.raises(Misconfigured):
        await worker.list_customers()
    assert worker.exposes(OPEN)


async def test_it_goes_on_by_itself_once_a_new_one_is_stored(
    worker: Worker, accounts: AccountsServer, replica: Replica
) -> None:
    await worker.list_customers()
    revoke(accounts)
    for _ in range(2):
        with pytest.raises(Misconfigured):
            await worker.list_customers()

    accounts.world.table("accounts", "codes").add({"code": "a-new-code"})
    status, _, _ = await replica.post("/v1/exchange", {"org": "default", "code": "a-new-code"})
    assert status == 200
    worker.skipped_s = 20.0  # the breaker's pause is over

    await worker.list_customers()
    assert worker.exposes(OPEN.replace(" 1.0", " 0.0"))
