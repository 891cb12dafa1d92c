"""Test that workers keep a token in memory, ask any replica, and understand a refusal."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from shared.errors import IntegrationError, Misconfigured, RateLimited, Unavailable
from shared.zoho.call.tokens import Tokens


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Replica:
    """A token-service that hands out t0, t1, … one more for each report."""

    clock: Clock
    url: str = ""
    asked: list[tuple[str, Any]] = field(default_factory=list)
    refusal: web.Response | None = None
    reports: int = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == "Bearer the-key-of-the-workers"
        self.asked.append((request.path, await request.json()))
        if self.refusal is not None:
            return self.refusal
        self.reports += request.path.endswith("invalid")
        return web.json_response(
            {
                "access_token": f"t{self.reports}",
                "expires_at": self.clock.now + 3600,
                "api_domain": "https://www.zohoapis.eu",
            }
        )

    def refuses(self, status: int, code: str, retry_after: str = "") -> None:
        headers = {"Retry-After": retry_after} if retry_after else {}
        self.refusal = web.json_response({"code": code}, status=status, headers=headers)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def replica(clock: Clock) -> AsyncIterator[Replica]:
    replica = Replica(clock)
    app = web.Application()
    app.router.add_post("/{path:.*}", replica.serve)
    server = TestServer(app)
    async with server:
        replica.url = str(server.make_url("")).rstrip("/")
        yield replica


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def tokens(session: aiohttp.ClientSession, replica: Replica, clock: Clock) -> Tokens:
    return Tokens(session, [replica.url], SecretStr("the-key-of-the-workers"), clock=clock)


async def test_many_who_need_a_token_ask_once(tokens: Tokens, replica: Replica) -> None:
    found = await asyncio.gather(*[tokens.get("default") for _ in range(30)])
    assert {token.access_token for token in found} == {"t0"}
    assert replica.asked == [("/v1/token", {"org": "default"})]


async def test_a_token_is_fetched_anew_shortly_before_it_expires(
    tokens: Tokens, replica: Replica, clock: Clock
) -> None:
    await tokens.get("default")
    clock.now += 3500
    await tokens.get("default")
    clock.now += 20
    await tokens.get("default")
    assert len(replica.asked) == 2


async def test_organizations_have_tokens_of_their_own(tokens: Tokens, replica: Replica) -> None:
    await tokens.get("default")
    await tokens.get("another")
    assert [body["org"] for _, body in replica.asked] == ["default", "another"]


async def test_a_refused_token_is_reported_once_by_its_hash(
    tokens: Tokens, replica: Replica
) -> None:
    dead = await tokens.get("default")

    fresh = await asyncio.gather(*[tokens.replace("default", dead) for _ in range(10)])

    assert {token.access_token for token in fresh} == {"t1"}
    assert replica.asked[1:] == [
        ("/v1/token/invalid", {"org": "default", "sha256": dead.sha256}),
    ]
    assert (await tokens.get("default")).access_token == "t1"


async def test_a_replica_that_is_down_is_passed_over_and_asked_last(
    session: aiohttp.ClientSession, replica: Replica, clock: Clock
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{taken.getsockname()[1]}"
        tokens = Tokens(
            session, [down, replica.url], SecretStr("the-key-of-the-workers"), clock=clock
        )
        assert (await tokens.get("default")).access_token == "t0"


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (401, "wrong_key", Misconfigured, {"cause": "token_service_key"}),
        (503, "refresh_token_dead", Misconfigured, {"cause": "refresh_token_dead"}),
        (503, "invalid_client", Misconfigured, {"cause": "invalid_client"}),
        (503, "wrong_data_center", Misconfigured, {"cause": "wrong_data_center"}),
        (503, "not_configured", Misconfigured, {"cause": "not_configured"}),
        (503, "cool_down", RateLimited, {"limit": "token", "retry_after_s": 42.0}),
        (503, "mint_budget", RateLimited, {"limit": "token", "retry_after_s": 42.0}),
        (503, "accounts_unavailable", Unavailable, {"code": "token_unavailable"}),
        (500, "", Unavailable, {"code": "token_unavailable"}),
    ],
)
async def test_each_refusal_becomes_the_error_that_fits(
    tokens: Tokens,
    replica: Replica,
    status: int,
    code: str,
    kind: type[IntegrationError],
    says: dict[str, object],
) -> None:
    replica.refuses(status, code, retry_after="42")
    with pytest.raises(kind) as caught:
        await tokens.get("default")
    assert {name: getattr(caught.value, name) for name in says} == says


async def test_no_replica_at_all_is_unavailable(session: aiohttp.ClientSession) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        tokens = Tokens(
            session, [f"http://127.0.0.1:{taken.getsockname()[1]}"], SecretStr("k" * 16)
        )
        with pytest.raises(Unavailable) as caught:
            await tokens.get("default")
    assert caught.value.code == "token_service_unreachable"


async def test_a_token_does_not_show_itself(tokens: Tokens) -> None:
    assert "t0" not in repr(await tokens.get("default"))
