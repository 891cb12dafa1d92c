"""Test the webhooks of Desk: arrays of events, with a JWT that does not cover them."""

import base64
import json
import time
from typing import Any
from unittest.mock import AsyncMock

import jwt
import pytest

from services.webhook_gateway.requests.refusals import Unauthentic
from services.webhook_gateway.signatures.desk import DeskSignatures
from tests.webhook_gateway.conftest import DESK_ORG, DESK_WEBHOOK, DeskSide, Gateway


def update(ticket: str = "2046000000001", at: str = "1769882400000") -> dict[str, Any]:
    return {
        "eventType": "Ticket_Update",
        "eventTime": at,
        "orgId": DESK_ORG,
        "payload": {"id": ticket, "statusType": "Closed", "subject": "José"},
        "prevState": {"statusType": "Open"},
    }


async def test_each_event_of_an_array_is_one_webhook(gateway: Gateway) -> None:
    assert await gateway.post_desk(update("1"), update("2")) == 200

    received = await gateway.passed_on()
    assert [one.routing_key for one in received] == ["desk.ticket_update.v1"] * 2
    assert sorted(one.payload["payload"]["id"] for one in received) == ["1", "2"]
    assert received[0].event_time is not None
    assert received[0].event_time.timestamp() == 1769882400


async def test_an_event_is_distinguished_by_ticket_kind_and_time(gateway: Gateway) -> None:
    added = {**update(), "eventType": "Ticket_Comment_Add"}

    for events in ([update()], [update(), update(at="1769882400001")], [added, update("9")]):
        assert await gateway.post_desk(*events) == 200

    assert len(await gateway.passed_on()) == 4
    assert gateway.count("desk", "duplicate") == 1


async def test_trying_out_the_url_is_answered_without_a_signature(gateway: Gateway) -> None:
    async with gateway.client.get("/webhooks/desk") as answer:
        assert answer.status == 200
    for body in ("", "  ", "[]", "{}", "[{}]", '{"hello":"zoho"}', "null"):
        assert await gateway.post("desk", body) == 200, body

    assert await gateway.passed_on() == []


async def test_only_desk_is_asked_with_get(gateway: Gateway) -> None:
    for product in ("billing", "books", "crm"):
        async with gateway.client.get(f"/webhooks/{product}") as answer:
            assert answer.status == 405


async def test_what_is_no_json_is_refused_as_such(gateway: Gateway) -> None:
    headers = {"X-ZDesk-JWT": gateway.desk.token()}

    assert await gateway.post("desk", "not json", headers) == 400


async def test_times_of_the_token_may_be_in_milliseconds(gateway: Gateway) -> None:
    now_ms = int(time.time() * 1000)

    assert await gateway.post_desk(update(), iat=now_ms, exp=now_ms + 60_000) == 200
    assert await gateway.post_desk(update(), iat=now_ms, exp=now_ms - 3_600_000) == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "orgId:1"},
        {"iss": "62983471"},
        {"aud": "webhookId:1"},
        {"aud": None},
        {"exp": int(time.time()) - 3600},
        {"iat": int(time.time()) + 3600},
        {"exp": "soon"},
        {"exp": None},
    ],
)
async def test_a_token_for_another_purpose_stores_nothing(
    gateway: Gateway, claims: dict[str, Any]
) -> None:
    assert await gateway.post_desk(update(), **claims) == 401

    assert await gateway.passed_on() == []
    assert gateway.count("desk", "not_authentic") == 1


async def test_a_token_that_desk_did_not_sign_stores_nothing(gateway: Gateway) -> None:
    body = json.dumps([update()])
    strangers = DeskSide()
    strangers.new_key("stranger")
    stranger = strangers.keys["stranger"]
    claims = {"iss": f"orgId:{DESK_ORG}", "aud": "webhookId:510001", "exp": int(time.time()) + 60}

    tokens = [
        None,
        "",
        "nonsense",
        "a.b.c",
        gateway.desk.token(key=stranger),
        gateway.desk.token(key=stranger, kid="k9"),
        gateway.desk.token() + "x",
        jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"}),
        jwt.encode(
            claims,
            "a shared secret and not a key, 32+ bytes",
            algorithm="HS256",
            headers={"kid": "k1"},
        ),
        jwt.encode(claims, gateway.desk.keys["k1"], algorithm="RS512", headers={"kid": "k1"}),
        jwt.encode(claims, gateway.desk.keys["k1"], algorithm="RS256"),
    ]
    for token in tokens:
        headers = {} if token is None else {"X-ZDesk-JWT": token}
        assert await gateway.post("desk", body, headers) == 401, token

    assert await gateway.passed_on() == []


async def test_a_key_that_desk_changes_to_is_found(gateway: Gateway) -> None:
    assert await gateway.post_desk(update("1")) == 200
    assert gateway.desk.asked == 1

    gateway.desk.new_key("k2")

    assert await gateway.post_desk(update("2")) == 200
    assert await gateway.post_desk(update("3"), kid="k1") == 200
    assert gateway.desk.asked == 2


async def test_an_event_that_cannot_be_written_again_is_refused(gateway: Gateway) -> None:
    headers = {"X-ZDesk-JWT": gateway.desk.token()}
    deep = json.dumps([{**update(), "more": None}])[:-6] + "[" * 254 + "]" * 254 + "}]"

    assert await gateway.post("desk", deep, headers) == 400
    assert await gateway.passed_on() == []


@pytest.mark.parametrize("header", ['{"a":' + "[" * 5000, "\udcff", '"text"', "7"])
async def test_a_token_whose_header_is_odd_is_no_token(gateway: Gateway, header: str) -> None:
    encoded = base64.urlsafe_b64encode(header.encode("utf-8", "surrogateescape")).decode()
    token = f"{encoded}.e30.e30"

    assert await gateway.post("desk", json.dumps([update()]), {"X-ZDesk-JWT": token}) == 401


async def test_a_token_of_bytes_is_no_token() -> None:
    """aiohttp's client sends no such header, and Desk's server none either."""
    signatures = DeskSignatures(AsyncMock(), org_id=DESK_ORG, webhook_ids=[DESK_WEBHOOK])

    with pytest.raises(Unauthentic):
        await signatures.verify("e30.\udcff.e30")
