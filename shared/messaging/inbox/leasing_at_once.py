"""Lease a message in the statement that stores it, where a slot is free and its line is new."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

import asyncpg

from shared.messaging.inbox.arrived_message import ArrivedMessage
from shared.messaging.inbox.lines import LARGE_BYTES, LeasedMessage
from shared.messaging.inbox.statements import columns


class LeaseTerms(NamedTuple):
    """How a message is leased at once, as `Lines.lease` takes it.

    `calls`: by route, the calls to reserve by product. `limits`: by product.
    """

    calls: Mapping[str, Mapping[str, int]]
    limits: Mapping[str, object]
    reservation_s: float
    lease_s: float

    def of(self, routes: Collection[str]) -> LeaseTerms:
        """What they say of these routes: a service has fifty, and a message comes by one."""
        calls = {route: self.calls[route] for route in routes if route in self.calls}
        products = {product for counts in calls.values() for product in counts}
        limits = {key: value for key, value in self.limits.items() if key in products}
        return self._replace(calls=calls, limits=limits)


class SlotOffer(Protocol):
    """Slots that are held for messages of a group while it is stored."""

    @property
    def wanted(self) -> Sequence[bool]:
        """For which messages of the group. Empty: for none."""

    @property
    def terms(self) -> LeaseTerms:
        """How they are leased."""

    def start(self, leased: Sequence[LeasedMessage]) -> None:
        """Work on those that were leased."""


class FreeSlots(Protocol):
    """Who works on messages, as the acceptance sees it."""

    def offer(self, group: Sequence[ArrivedMessage]) -> AbstractContextManager[SlotOffer]:
        """Hold a slot for each message that may be leased at once. On exit the rest is given back.

        None while something older may wait for a slot: that comes first.
        """


class _NoOffer:
    wanted: Sequence[bool] = ()
    terms = LeaseTerms({}, {}, 0.0, 0.0)

    def start(self, leased: Sequence[LeasedMessage]) -> None:
        assert not leased, "nothing was asked for"  # noqa: S101


NO_OFFER: Final[SlotOffer] = _NoOffer()


class _RehearsedOffer(_NoOffer):
    wanted = (True,)
    terms = LeaseTerms({}, {}, 1.0, 1.0)


REHEARSED_OFFER: Final[SlotOffer] = _RehearsedOffer()
"""For one message of nobody, which calls nothing and is not worked on."""


class NoFreeSlots:
    """Leases nothing at once: for who accepts without working on it."""

    def offer(self, group: Sequence[ArrivedMessage]) -> AbstractContextManager[SlotOffer]:
        return nullcontext(NO_OFFER)


def lease_arguments(offer: SlotOffer) -> list[Any]:
    """What `accept_messages` is given of an offer."""
    if not any(offer.wanted):
        return [[], [], [], [], {}, 0.0, 0.0]
    terms = offer.terms
    calls = [
        (route, product, count)
        for route, products in terms.calls.items()
        for product, count in products.items()
    ]
    return [
        [*offer.wanted],
        *columns(calls, 3),
        terms.limits,
        terms.reservation_s,
        terms.lease_s,
    ]


def leased_at_once(message: ArrivedMessage, row: asyncpg.Record, sealed: bytes) -> LeasedMessage:
    """The message as `Lines.lease` would return it. `row`: of `accept_messages`."""
    return LeasedMessage(
        org=message.org,
        arrived=row["arrived"],
        claim=row["claim"],
        line=row["line"],
        exchange=message.exchange,
        routing_key=message.routing_key,
        route=message.route or message.routing_key,
        message_id=message.message_id,
        attempt=1,
        alone=False,
        erased=False,
        priority=message.priority,
        correlation_id=message.correlation_id,
        reply_to=message.reply_to,
        traceparent=message.traceparent,
        sent_at=message.sent_at,
        headers=message.headers,
        body=sealed if len(sealed) <= LARGE_BYTES else b"",
        accepted_at=datetime.now(UTC),
        waited_s=0.0,
        body_mac=message.macs[:32],
        records=message.records,
        reservations=dict(zip(row["products"] or (), row["reservations"] or (), strict=True)),
    )
