"""Desk's published keys: asked for rarely, and never trusted beyond what they are."""

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aioresponses import aioresponses

from services.webhook_gateway.signatures.desk_keys import DeskKeys
from shared.errors import Unavailable
from tests.kit.mocked_http import MockedHttp
from tests.webhook_gateway.conftest import DeskSide

URL = "https://desk.zoho.test/.well-known/jwks.json"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def keys(clock: Clock) -> AsyncIterator[DeskKeys]:
    async with aiohttp.ClientSession() as session:
        yield DeskKeys(session, URL, pause_s=10, fresh_s=3600, now=clock)


def asked(zoho: aioresponses) -> int:
    return sum(len(calls) for calls in zoho.requests.values())


async def test_many_who_need_a_key_at_once_ask_once(keys: DeskKeys) -> None:
    with MockedHttp() as zoho:
        zoho.get(URL, payload=DeskSide().key_set(), repeat=True)

        found = await asyncio.gather(*[keys.key("k1") for _ in range(50)])

        assert None not in found
        assert asked(zoho) == 1


async def test_unknown_keys_do_not_make_us_ask_without_end(keys: DeskKeys, clock: Clock) -> None:
    with MockedHttp() as zoho:
        zoho.get(URL, payload=DeskSide().key_set(), repeat=True)

        for n in range(100):
            assert await keys.key(f"made-up-{n}") is None
        assert asked(zoho) == 1

        clock.now += 10
        assert await keys.key("made-up") is None
        assert asked(zoho) == 2


async def test_a_key_that_was_withdrawn_goes(keys: DeskKeys, clock: Clock) -> None:
    desk = DeskSide()
    with MockedHttp() as zoho:
        zoho.get(URL, payload=desk.key_set())
        assert await keys.key("k1") is not None

        desk.keys.clear()
        desk.new_key("k2")
        zoho.get(URL, payload=desk.key_set())
        clock.now += 3600

        assert await keys.key("k1") is None
        assert await keys.key("k2") is not None


async def test_known_keys_go_on_while_desk_does_not_answer(keys: DeskKeys, clock: Clock) -> None:
    with MockedHttp() as zoho:
        zoho.get(URL, payload=DeskSide().key_set())
        assert await keys.key("k1") is not None

        zoho.get(URL, status=500, repeat=True)
        clock.now += 7200

        assert await keys.key("k1") is not None
        with pytest.raises(Unavailable):
            await keys.key("k2")


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"exception": TimeoutError()},
        {"exception": aiohttp.ClientConnectionError()},
        {"body": "<html>maintenance</html>"},
        {"payload": {"keys": []}},
        {"payload": {"keys": [{"kid": "k1", "kty": "oct", "k": "c2VjcmV0", "alg": "RS256"}]}},
        {"payload": ["k1"]},
    ],
)
async def test_an_answer_without_keys_is_no_answer(
    keys: DeskKeys, clock: Clock, answer: dict[str, object]
) -> None:
    with MockedHttp() as zoho:
        zoho.get(re.compile(".*"), **answer)
        with pytest.raises(Unavailable) as caught:
            await keys.key("k1")
        assert caught.value.code == "desk_keys_unavailable"

        # As soon as it answers again, all is well.
        clock.now += 10
        zoho.get(URL, payload=DeskSide().key_set())
        assert await keys.key("k1") is not None
