"""Messages about the same thing have the same ordering key."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.contracts.commands import SubscriptionCancelRequested, UserUpdated
from shared.contracts.events import Event, SubscriptionChanged
from shared.contracts.webhooks import WebhookReceived
from shared.crypto.blind_index import BlindIndex
from shared.crypto.keyring import KeyRing
from shared.messaging.inbox.ordering_key import NO_LINE, OrderingKey, line_key_of

INDEX = BlindIndex(KeyRing.parse(f"i1:{base64.b64encode(bytes(32)).decode()}"), "test")


def key_of(message: Any) -> OrderingKey:
    return line_key_of(message, "default", INDEX)


def webhook(product: Any, payload: dict[str, Any], event: str = "x") -> WebhookReceived:
    return WebhookReceived(
        webhook_id="w", product=product, event=event, received_at=datetime.now(UTC), payload=payload
    )


def test_a_command_has_the_key_of_its_user_or_of_what_it_names() -> None:
    assert key_of(UserUpdated(user_id="u1", phone="1")) == OrderingKey(True, "u1")
    cancel = key_of(SubscriptionCancelRequested(subscription_id="s1"))
    assert (cancel.user_id, cancel.fallback) == (None, "subscription:s1")
    assert cancel.named == (("subscription", "s1"),)


def test_an_event_of_a_user_has_the_users_key() -> None:
    changed = SubscriptionChanged.model_construct(user_id="u1", subscription_id="s1")

    assert key_of(changed) == OrderingKey(True, "u1")


def test_an_event_without_a_user_has_the_key_of_its_subject() -> None:
    class Closed(Event):
        routing_key = "closed.v1"

        def subject(self) -> str:
            return "ticket:e1"

    key = key_of(Closed())

    assert key == OrderingKey(True, None, "escalation:e1", (("escalation", "e1"),))


@pytest.mark.parametrize(
    ("product", "one", "other"),
    [
        (
            "billing",
            {"data": {"subscription": {"subscription_id": "77", "customer": {"customer_id": "5"}}}},
            {"subscription": {"subscription_id": "77"}},
        ),
        ("books", {"invoice": {"invoice_id": 12}}, {"data": {"invoice": {"invoice_id": "12"}}}),
        ("desk", {"payload": {"id": "9"}}, {"payload": {"id": "1", "ticketId": "9"}}),
        ("crm", {"ids": ["3"]}, {"ids": ["3"], "module": "Contacts"}),
    ],
)
def test_webhooks_of_one_record_have_one_key_that_shows_nothing_of_its_id(
    product: str, one: dict[str, Any], other: dict[str, Any]
) -> None:
    key = key_of(webhook(product, one))

    assert key == key_of(webhook(product, other, event="y"))
    assert key.fallback is not None
    assert key.fallback.startswith("webhook:")
    assert key.user_id is None


@pytest.mark.parametrize("payload", [{}, {"data": "no json"}, {"payload": 3}, {"ids": ["1", "2"]}])
def test_a_webhook_without_a_record_has_a_line_of_its_own(payload: dict[str, Any]) -> None:
    for product in ("billing", "books", "desk", "crm"):
        assert key_of(webhook(product, payload)) == NO_LINE


def test_records_of_different_products_or_organizations_do_not_meet() -> None:
    payload = {"invoice": {"invoice_id": "1"}}
    billing, books = webhook("billing", payload), webhook("books", payload)

    keys = {
        key_of(billing).fallback,
        key_of(books).fallback,
        line_key_of(billing, "another", INDEX).fallback,
    }

    assert len(keys) == 3
