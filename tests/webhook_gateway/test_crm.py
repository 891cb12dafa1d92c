"""Test the webhooks of CRM, of which neither kind is signed."""

import json
from urllib.parse import urlencode

import pytest

from tests.webhook_gateway.conftest import CHANNEL_TOKEN, WORKFLOW_SECRET, Gateway

NOTICE = {
    "server_time": 1769882400000,
    "query_params": {"secret": "in-the-url"},
    "module": "Contacts",
    "ids": ["4876876000000000001", "4876876000000000002"],
    "operation": "update",
    "channel_id": "1000000068001",
    "token": CHANNEL_TOKEN,
}


async def test_a_channels_callback_is_known_by_its_token(gateway: Gateway) -> None:
    assert await gateway.post("crm", json.dumps(NOTICE)) == 200

    [received] = await gateway.passed_on()
    assert received.routing_key == "crm.contacts_update.v1"
    assert received.payload["ids"] == NOTICE["ids"]
    assert received.event_time is not None
    assert received.event_time.timestamp() == 1769882400


async def test_secrets_are_not_kept(gateway: Gateway) -> None:
    await gateway.post("crm", json.dumps(NOTICE))

    [received] = await gateway.passed_on()
    kept = json.dumps([received.payload, await gateway.stored_payloads()])
    assert CHANNEL_TOKEN not in kept
    assert "in-the-url" not in kept


async def test_a_wrong_token_stores_nothing(gateway: Gateway) -> None:
    for token in ("", "x", None, 7, CHANNEL_TOKEN + " ", [CHANNEL_TOKEN]):
        assert await gateway.post("crm", json.dumps({**NOTICE, "token": token})) == 401
    assert await gateway.post("crm", "{}") == 401
    assert await gateway.post("crm", "not json") == 400

    assert await gateway.passed_on() == []


async def test_a_workflow_webhook_is_known_by_its_header(gateway: Gateway) -> None:
    right = {"X-Webhook-Secret": WORKFLOW_SECRET}
    form = {**right, "Content-Type": "application/x-www-form-urlencoded"}

    assert await gateway.post("crm", '{"contact_id":"1"}', right) == 200
    assert await gateway.post("crm", urlencode({"contact_id": "2"}), form) == 200
    assert await gateway.post("crm", "not json", right) == 400
    # With the header, the header decides: a right token in the body does not mend a wrong one.
    assert await gateway.post("crm", json.dumps(NOTICE), {"X-Webhook-Secret": "wrong"}) == 401

    received = await gateway.passed_on()
    assert [one.routing_key for one in received] == ["crm.workflow.v1"] * 2
    assert [one.payload for one in received] == [{"contact_id": "1"}, {"contact_id": "2"}]


@pytest.mark.parametrize("depth", [200, 253, 254, 255, 300])
async def test_a_body_that_cannot_be_written_again_is_refused(gateway: Gateway, depth: int) -> None:
    """orjson reads 1024 levels and writes 254."""
    deep = json.dumps({**NOTICE, "more": None})[:-5] + "[" * depth + "]" * depth + "}"
    workflow = {"X-Webhook-Secret": WORKFLOW_SECRET}

    expected = 200 if depth < 252 else 400
    assert await gateway.post("crm", deep) == expected
    assert await gateway.post("crm", deep, workflow) == expected


async def test_a_form_s_key_that_is_not_text_is_refused(gateway: Gateway) -> None:
    form = {
        "X-Webhook-Secret": WORKFLOW_SECRET,
        "Content-Type": "application/x-www-form-urlencoded",
    }

    assert await gateway.post("crm", b"%FF=1", form) == 400
    body = urlencode({"token": CHANNEL_TOKEN}).encode() + b"&%FF=1"
    assert await gateway.post("crm", body, {"Content-Type": form["Content-Type"]}) == 400
    assert await gateway.passed_on() == []
