"""Calls reach Zoho through the real parts: sandbox, token-service, ledger and `ZohoHttp`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from shared.errors import Misconfigured, OutcomeUnknown, RateLimited
from shared.storage import pool as storage
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.http import ZohoHttp
from shared.zoho.call.operation import Called, Operation, Reply
from shared.zoho.call.tokens import Tokens
from shared.zoho.call.transport import open_transport
from shared.zoho.products.profiles import PROFILES
from shared.zoho.quota.quota import Quota
from tests.kit.zoho_access import request_of
from tests.token_service.conftest import KEY, AccountsServer, Replica

CREATE = Operation("billing", "create_customer", "POST")
LIST = Operation("billing", "list_customers", "GET")
PRODUCTS = {"billing": "/billing/v1", "books": "/books/v3", "crm": "/crm", "desk": "/desk/api/v1"}
ANA = {"display_name": "Ana", "email": "ana@example.com"}


class Worker:
    """A worker's access to Zoho."""

    def __init__(self, http: ZohoHttp, calls: list[Called]) -> None:
        self.http = http
        self.calls = calls

    async def call(self, operation: Operation, path: str, **more: Any) -> Reply:
        return await self.http.call(request_of(operation, path, **more))


@pytest.fixture
async def worker(
    accounts: AccountsServer, replica: Replica, database_url: str
) -> AsyncIterator[Worker]:
    base = accounts.url.removesuffix("/accounts")
    settings = accounts.world.settings
    endpoints = Endpoints(
        PROFILES,
        overrides={product: base + prefix for product, prefix in PRODUCTS.items()},
        organization_ids={
            "billing": settings.organization_id,
            "books": settings.books_organization,
            "desk": settings.desk_org_id,
        },
    )
    calls: list[Called] = []
    async with (
        aiohttp.ClientSession() as session,
        open_transport() as transport,
        storage.connect(SecretStr(database_url), size=4) as pool,
    ):
        tokens = Tokens(session, [replica.url], SecretStr(KEY))
        # Long enough for calls in flight on a slow machine, and shorter than a minute's limit.
        limits = {product: PROFILES[product].quota.limits() for product in PRODUCTS}
        # And what one call learns, the next one knows.
        quota = Quota(pool, limits, longest_wait_s=30.0, note_within_s=60.0)
        http = ZohoHttp(
            transport, tokens, quota, {"default": endpoints}, Breakers(), observers=[calls.append]
        )
        yield Worker(http, calls)


def fault(accounts: AccountsServer, kind: str, product: str = "billing", times: int = 1) -> None:
    accounts.world.faults.add({"product": product, "kind": kind, "times": times})


def customers(accounts: AccountsServer) -> int:
    return len(list(accounts.world.table("billing", "customers")))


async def test_a_call_is_made_and_answered(worker: Worker, accounts: AccountsServer) -> None:
    reply = await worker.call(CREATE, "/customers", json=ANA)
    assert reply.status == 201
    assert isinstance(reply.body["customer"]["customer_id"], str)
    assert customers(accounts) == 1


async def test_an_expired_token_costs_one_mint_and_no_message(
    worker: Worker, accounts: AccountsServer
) -> None:
    await worker.call(LIST, "/customers")
    fault(accounts, "invalid_token")
    assert (await worker.call(LIST, "/customers")).status == 200
    assert accounts.mints == 2


async def test_a_lost_answer_to_a_done_write_leaves_its_outcome_unknown(
    worker: Worker, accounts: AccountsServer
) -> None:
    fault(accounts, "reset_after")
    with pytest.raises(OutcomeUnknown):
        await worker.call(CREATE, "/customers", json=ANA)
    assert customers(accounts) == 1


async def test_calls_in_flight_stay_within_zohos_limit(
    worker: Worker, accounts: AccountsServer
) -> None:
    accounts.world.limits.change("billing", {"concurrency": 5})
    calls = [worker.call(LIST, "/customers") for _ in range(40)]
    assert {reply.status for reply in await asyncio.gather(*calls)} == {200}
    assert {called.outcome for called in worker.calls} == {"ok"}


async def test_a_minutes_limit_names_the_time_to_come_back(
    worker: Worker, accounts: AccountsServer
) -> None:
    fault(accounts, "minute_limit")
    with pytest.raises(RateLimited) as caught:
        await worker.call(LIST, "/customers")
    assert caught.value.limit == "minute"
    with pytest.raises(RateLimited):
        await worker.call(LIST, "/customers")
    assert len(worker.calls) == 1


async def test_a_days_limit_lasts_until_zohos_reset(
    worker: Worker, accounts: AccountsServer
) -> None:
    accounts.world.limits.change("billing", {"day": 1, "reset_in_s": 5000})
    await worker.call(LIST, "/customers")
    with pytest.raises(RateLimited) as caught:
        await worker.call(LIST, "/customers")
    assert caught.value.limit == "day"


@pytest.mark.parametrize(
    ("product", "kind", "cause", "mints"),
    [
        # The finance products answer a missing scope as they answer an invalid token.
        ("billing", "scope_mismatch", "scope", 2),
        ("books", "scope_mismatch", "scope", 2),
        ("crm", "scope_mismatch", "scope", 1),
        ("desk", "scope_mismatch", "scope", 1),
        ("billing", "user_disabled", "disabled_user", 1),
        ("books", "user_disabled", "disabled_user", 1),
    ],
)
async def test_a_fault_that_needs_a_person_costs_no_mint_where_zoho_names_it(
    worker: Worker, accounts: AccountsServer, product: str, kind: str, cause: str, mints: int
) -> None:
    fault(accounts, kind, product, times=mints)
    operation = Operation(product, "list", "GET")
    paths = {"billing": "/customers", "books": "/contacts", "crm": "/org", "desk": "/tickets"}
    with pytest.raises(Misconfigured) as caught:
        await worker.call(operation, paths[product])
    assert caught.value.cause == cause
    assert accounts.mints == mints


async def test_a_revoked_refresh_token_stops_the_calls(
    worker: Worker, accounts: AccountsServer
) -> None:
    accounts.revoke_refresh_token()
    with pytest.raises(Misconfigured) as caught:
        await worker.call(LIST, "/customers")
    assert (caught.value.product, caught.value.cause) == ("accounts", "refresh_token_dead")
    assert worker.calls == []
