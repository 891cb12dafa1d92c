"""From the client library's message to a Delivery."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from aiormq.abc import DeliveredMessage
from pamqp import commands

from shared.messaging.messages.delivery import NOT_TEXT, Delivery
from shared.messaging.messages.outgoing_message import FIRST_EXCHANGE, FIRST_ROUTING_KEY

DEFAULT_ORG = "default"


def decode_delivery(
    message: DeliveredMessage, queue: str, lane: str, known_orgs: frozenset[str]
) -> Delivery:
    """What came, with the first exchange and routing key of what comes back from a retry.

    An unknown organization is kept under `default`: its name is anybody's text, and every row and
    key has one. The check of the header is open_and_parse's.
    """
    properties: commands.Basic.Properties = message.header.properties
    frame = message.delivery
    headers = properties.headers or {}
    org = headers.get("org")
    returned = isinstance(frame, commands.Basic.Deliver) and not frame.exchange
    exchange = _text(getattr(frame, "exchange", ""))
    routing_key = _text(getattr(frame, "routing_key", ""))
    if returned:
        exchange = _text(headers.get(FIRST_EXCHANGE, exchange))
        routing_key = _text(headers.get(FIRST_ROUTING_KEY, routing_key))
    return Delivery(
        queue=queue,
        lane=lane,
        exchange=exchange,
        routing_key=routing_key,
        message_id=_text(properties.message_id),
        org=org if isinstance(org, str) and org in known_orgs else DEFAULT_ORG,
        correlation_id=_text(properties.correlation_id) or str(uuid4()),
        body=message.body,
        traceparent=_text(headers.get("traceparent")) or None,
        reply_to=_text(properties.reply_to) or None,
        timestamp=properties.timestamp if isinstance(properties.timestamp, datetime) else None,
        redelivered=bool(getattr(frame, "redelivered", False)),
        headers=headers,
    )


def _text(value: object) -> str:
    """What is no UTF-8 comes as bytes; NUL is nothing that PostgreSQL stores."""
    if isinstance(value, bytes | bytearray):
        value = bytes(value).decode("utf-8", "replace")
    return value.replace("\0", NOT_TEXT) if isinstance(value, str) else ""
