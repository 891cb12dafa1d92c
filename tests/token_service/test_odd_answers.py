"""Test answers of Zoho's accounts server that its documents do not show."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

GRANTED = {"access_token": "1000.granted.token", "api_domain": "https://www.zohoapis.com"}


class OddAccounts:
    """An accounts server that always gives the same answer."""

    def __init__(self, status, body):
        self.asked = 0
        self._status = status
        self._body = body

    async def answer(self, request):
        self.asked += 1
        return web.Response(status=self._status, body=self._body)

    def server(self):
        app = web.Application()
        app.add_routes([web.post("/oauth/v2/token", self.answer)])
        return TestServer(app)


def as_json(**fields):
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, as_json(error="\u62d2\u7edd\u8bbf\u95ee", status="failure"), "cool_down"),
        (200, as_json(error="Acc\u00e8s refus\u00e9", status="failure"), "cool_down"),
        (429, as_json(error="anything"), "cool_down"),
        (429, b"<html>Too many requests</html>", "cool_down"),
        (429, b"", "cool_down"),
        (400, as_json(error="invalid_client", status="failure"), "invalid_client"),
        (400, as_json(error="a new word"), "not_configured"),
        (200, b"<html>Sign in</html>", "wrong_data_center"),
    ],
)
async def test_a_throttle_is_known_in_every_language_and_by_its_status(start, status, body, code):
    accounts = OddAccounts(status, body)
    async with accounts.server() as server:
        replica = await start(zoho_accounts_url=str(server.make_url("")).rstrip("/"))

        assert (await replica.refused())[0] == code
        assert (await replica.refused())[0] == code

    assert accounts.asked == 1


@pytest.mark.parametrize(
    ("fields", "at_most_s"),
    [
        ({"expires_in": "600"}, 600),
        ({"expires_in_sec": "600", "expires_in": 3600000}, 600),
        ({"expires_in": "soon"}, 3600),
        ({"expires_in": "nan"}, 3600),
        ({"expires_in": -1}, 3600),
        ({}, 3600),
    ],
)
async def test_a_lifetime_may_be_text(start, fields, at_most_s):
    accounts = OddAccounts(200, as_json(**GRANTED, **fields))
    async with accounts.server() as server:
        replica = await start(zoho_accounts_url=str(server.make_url("")).rstrip("/"))
        assert await replica.token() == GRANTED["access_token"]
        metrics = await replica.metrics()

    [left] = [
        float(line.split()[-1])
        for line in metrics.splitlines()
        if line.startswith("zoho_token_expires_in_seconds{")
    ]
    assert at_most_s - 60 < left <= at_most_s
