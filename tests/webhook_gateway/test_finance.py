"""Test the webhooks of Billing and Books."""

import asyncio
import json
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from tests.webhook_gateway.conftest import OLD_SECRET, Gateway, signed

RENEWED = {
    "event_id": "1234567890123456789",
    "event_type": "subscription_renewed",
    "event_time": "2026-01-31T10:00:00-0700",
    "data": {"subscription": {"subscription_id": "903000000012345678", "amount": 100.1}},
}


async def test_an_event_is_stored_sealed_and_passed_on(gateway: Gateway) -> None:
    assert await gateway.post_signed("billing", RENEWED) == 200

    [received] = await gateway.passed_on()
    assert received.product == "billing"
    assert received.event == "subscription_renewed"
    assert received.routing_key == "billing.subscription_renewed.v1"
    assert received.event_id == "1234567890123456789"
    assert received.event_time is not None
    assert received.event_time.isoformat() == "2026-01-31T10:00:00-07:00"
    assert received.payload == RENEWED
    assert await gateway.stored_payloads() == [RENEWED]
    [row] = await gateway.pool.fetch(
        """
        SELECT o.message_id, o.properties, w.*, o.body AS sent
        FROM gateway.outbox o, gateway.webhooks w
        """
    )
    assert row["message_id"] == received.webhook_id
    assert row["properties"]["headers"] == {"org": "default", "x-sealed": 1}
    assert b"903000000012345678" not in row["body"] + row["sent"]
    assert "1234567890123456789" not in str(dict(row))
    assert gateway.count("billing", "accepted") == 1


async def test_a_wrong_signature_stores_nothing(gateway: Gateway) -> None:
    body = json.dumps(RENEWED).encode()

    assert await gateway.post("billing", body) == 401
    assert await gateway.post("billing", body, signed(body, "not-our-secret")) == 401
    assert await gateway.post("billing", body + b" ", signed(body)) == 401
    assert await gateway.post("billing", b"not json", signed(body)) == 401

    assert await gateway.passed_on() == []
    assert gateway.count("billing", "not_authentic") == 4


async def test_a_secret_can_be_changed_while_both_are_accepted(gateway: Gateway) -> None:
    assert await gateway.post_signed("billing", RENEWED, secret=OLD_SECRET) == 200


async def test_the_urls_own_parameters_are_part_of_what_is_signed(gateway: Gateway) -> None:
    body = json.dumps(RENEWED).encode()

    assert await gateway.post("billing?org=default", body, signed(body)) == 401
    assert await gateway.post("billing?org=default", body, signed(b"orgdefault" + body)) == 200


async def test_another_organization_is_not_found(gateway: Gateway) -> None:
    body = json.dumps(RENEWED).encode()

    assert await gateway.post("billing?org=other", body, signed(b"orgother" + body)) == 404
    assert await gateway.post("nothing", body) == 404
    assert gateway.count("billing", "unknown_organization", org="") == 1


async def test_what_cannot_be_read_is_refused_as_such(gateway: Gateway) -> None:
    for body in ("not json", "", "[1]", "7", '{"a":', "[" * 100_000):
        assert await gateway.post_signed("books", body) == 400, body[:20]

    assert gateway.count("books", "malformed_body") == 6


async def test_a_body_that_is_not_packed_as_it_says_is_refused(gateway: Gateway) -> None:
    body = json.dumps(RENEWED).encode()

    assert await gateway.post("books", body, {**signed(body), "Content-Encoding": "gzip"}) == 400

    assert gateway.count("books", "malformed_body") == 1


async def test_a_body_may_be_a_mebibyte_and_no_more(gateway: Gateway) -> None:
    filler = "x" * (1024 * 1024 - len('{"event_type":"e","a":""}'))
    largest = json.dumps({"event_type": "e", "a": filler}, separators=(",", ":"))
    assert len(largest) == 1024 * 1024

    assert await gateway.post_signed("billing", largest) == 200
    assert await gateway.post_signed("billing", largest + " ") == 413

    async def chunks() -> AsyncIterator[bytes]:  # sent without a Content-Length
        for _ in range(40):
            yield b"x" * 65536

    async with gateway.client.post("/webhooks/billing", data=chunks()) as answer:
        assert answer.status == 413


async def test_the_same_event_is_stored_once_however_it_arrives(gateway: Gateway) -> None:
    again = {**RENEWED, "note": "sent again by hand"}

    posts = [gateway.post_signed("billing", event) for event in (RENEWED, again) * 10]
    assert set(await asyncio.gather(*posts)) == {200}

    assert len(await gateway.passed_on()) == 1
    assert gateway.count("billing", "accepted") == 1
    assert gateway.count("billing", "duplicate") == 19


async def test_billing_and_books_each_have_their_own_events(gateway: Gateway) -> None:
    await gateway.post_signed("billing", RENEWED)
    await gateway.post_signed("books", RENEWED)

    assert [received.product for received in await gateway.passed_on()] == ["billing", "books"]


@pytest.mark.parametrize(
    ("zohos", "ours"),
    [
        ("payment_thankyou", "payment_succeeded"),
        ("payment_succeeded", "payment_succeeded"),
        ("payment_declined", "payment_failed"),
        ("payment_failed", "payment_failed"),
    ],
)
async def test_both_spellings_of_a_payment_are_one_event(
    gateway: Gateway, zohos: str, ours: str
) -> None:
    await gateway.post_signed("billing", {"event_type": zohos, "event_id": "1", "data": {}})

    assert [received.event for received in await gateway.passed_on()] == [ours]
    assert gateway.count("billing", "accepted") == 1


async def test_an_event_that_nobody_documents_is_stored_counted_and_passed_on(
    gateway: Gateway,
) -> None:
    assert (
        await gateway.post_signed("billing", {"event_type": "Moon.Rise!", "event_id": "1"}) == 200
    )

    assert [received.event for received in await gateway.passed_on()] == ["moon_rise"]
    assert gateway.count("billing", "accepted_unknown_event") == 1
    # Nobody may be bound to it: it must not wait for a queue for ever.
    assert await gateway.pool.fetchval("SELECT mandatory FROM gateway.outbox") is False


async def test_the_specifications_shape_is_accepted(gateway: Gateway) -> None:
    body = {
        "event_type": "payment_failed",
        "data": {
            "subscription": {"subscription_id": "903000000012345678"},
            "customer": {"email": "ann@example.com"},
        },
    }

    assert await gateway.post_signed("billing", body) == 200

    [received] = await gateway.passed_on()
    assert (received.event, received.event_id, received.payload) == ("payment_failed", None, body)


async def test_a_workflow_webhook_is_named_after_its_record(gateway: Gateway) -> None:
    await gateway.post_signed("books", {"organization_id": "1", "invoice": {"invoice_id": "2"}})
    await gateway.post_signed("books", {"organization_id": "1", "something": {"id": "2"}})
    body = b'{"invoice":{}}'
    await gateway.post("books?event=invoice_voided", body, signed(b"eventinvoice_voided" + body))

    events = [received.event for received in await gateway.passed_on()]
    assert events == ["invoice_changed", "unknown", "invoice_voided"]


async def test_form_bodies_are_read_in_both_of_their_shapes(gateway: Gateway) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    inside = json.dumps(RENEWED)
    whole = urlencode({"JSONString": inside})
    fields = urlencode({"event_type": "invoice_updated", "invoice": '{"invoice_id":"7"}', "n": "1"})
    in_order = 'event_typeinvoice_updatedinvoice{"invoice_id":"7"}n1'

    for body, text in ((whole, f"JSONString{inside}"), (fields, in_order)):
        assert await gateway.post("billing", body, {**signed(text.encode()), **headers}) == 200
        assert await gateway.post("billing", body, {**signed(body.encode()), **headers}) == 401

    first, second = await gateway.passed_on()
    assert first.payload == RENEWED
    assert second.payload == {
        "event_type": "invoice_updated",
        "invoice": {"invoice_id": "7"},
        "n": "1",
    }


URLENCODED, TEXT = "application/x-www-form-urlencoded", "text/plain; charset=utf-8"
LOCAL = {**RENEWED, "event_time": "2026-01-31T10:00:00+05:30"}


@pytest.mark.parametrize(
    ("content_type", "body", "signed_text"),
    [
        (URLENCODED, json.dumps(LOCAL), json.dumps(LOCAL)),
        (URLENCODED, "\n " + json.dumps(LOCAL), "\n " + json.dumps(LOCAL)),
        (TEXT, f"JSONString={json.dumps(LOCAL)}", f"JSONString={json.dumps(LOCAL)}"),
        (TEXT, f"JSONString={json.dumps(LOCAL)}", f"JSONString{json.dumps(LOCAL)}"),
        (TEXT, urlencode({"JSONString": json.dumps(LOCAL)}), f"JSONString{json.dumps(LOCAL)}"),
        (URLENCODED, f"JSONString={json.dumps(LOCAL)}", f"JSONString{json.dumps(LOCAL)}"),
    ],
    ids=["JSON as a form", "spaces first", "text", "its field signed", "encoded", "not encoded"],
)
async def test_a_body_is_read_by_what_it_is_and_the_signature_covers_what_was_sent(
    gateway: Gateway, content_type: str, body: str, signed_text: str
) -> None:
    headers = {**signed(signed_text.encode()), "Content-Type": content_type}

    assert await gateway.post("billing", body, headers) == 200
    assert await gateway.post("billing", body.replace("renewed", "expired"), headers) == 401

    [received] = await gateway.passed_on()
    assert received.payload == LOCAL
    assert received.event_time is not None
    assert received.event_time.isoformat() == LOCAL["event_time"]


async def test_a_form_s_key_that_is_not_text_is_refused(gateway: Gateway) -> None:
    headers = {**signed(b"\xff1event_typeinvoice_updated"), "Content-Type": URLENCODED}

    assert await gateway.post("billing", b"%FF=1&event_type=invoice_updated", headers) == 401
    headers |= signed(b"event_typeinvoice_updated\xff1") | {"Content-Type": URLENCODED}
    assert await gateway.post("billing", b"%FF=1&event_type=invoice_updated", headers) == 400


async def test_a_multipart_form_is_read(gateway: Gateway) -> None:
    body = (
        b'--B\r\nContent-Disposition: form-data; name="event_type"\r\n\r\ninvoice_updated\r\n'
        b'--B\r\nContent-Disposition: form-data; name="note"\r\n\r\nJos\xc3\xa9\r\n--B--\r\n'
    )
    headers = signed("event_typeinvoice_updatednoteJosé".encode())
    headers["Content-Type"] = "multipart/form-data; boundary=B"

    assert await gateway.post("books", body, headers) == 200

    [received] = await gateway.passed_on()
    assert received.payload == {"event_type": "invoice_updated", "note": "José"}


async def test_a_name_that_zoho_cut_inside_an_emoji_is_no_reason_to_lose_an_event(
    gateway: Gateway,
) -> None:
    body = b'{"event_type":"subscription_created","event_id":"1","name":"Ann \\ud83d"}'

    assert await gateway.post_signed("billing", body) == 200

    [received] = await gateway.passed_on()
    assert received.payload["name"] == "Ann ?"


async def test_a_body_that_is_nested_too_deeply_is_refused_and_harms_no_other(
    gateway: Gateway,
) -> None:
    deep = '{"event_id": "1", "a":' + "[" * 300 + "]" * 300 + "}"

    answers = await asyncio.gather(
        *(gateway.post_signed("billing", deep) for _ in range(3)),
        gateway.post_signed("billing", RENEWED),
    )

    assert answers == [400, 400, 400, 200]
    assert len(await gateway.passed_on()) == 1
