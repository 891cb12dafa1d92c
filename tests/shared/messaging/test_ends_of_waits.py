"""The ends of waits are counted in rounds, and held while they could not have ended."""

from __future__ import annotations

from collections.abc import Mapping
from unittest.mock import AsyncMock

import pytest

from shared.messaging.dispatch.attempt import Attempts
from shared.messaging.dispatch.ends import EndsOfWaits
from shared.messaging.dispatch.reservations import ClosedProduct, NoCalls
from shared.messaging.handling.routes import MessagePriority
from shared.messaging.inbox.waits import WaitEnds, WaitHolds


class Products(NoCalls):
    """A budget over these products, of which one is closed."""

    def __init__(self, *products: str, closed: str, priority: int = 1) -> None:
        self._products, self._closed, self._priority = products, closed, priority

    @property
    def limits(self) -> Mapping[str, object]:
        return dict.fromkeys(self._products)

    def closed(self) -> list[ClosedProduct]:
        return [ClosedProduct("default", self._closed, self._priority)]


async def ended(budget: NoCalls, count: int = 0) -> tuple[bool, WaitHolds]:
    """Whether a round that ends so many waits says that there may be more, and what it held."""
    ends = AsyncMock(WaitEnds)
    ends.end_due.return_value = [AsyncMock(code="unknown_user", reason="no")] * count
    rounds = EndsOfWaits(
        ends,
        AsyncMock(Attempts),
        budget,
        orgs=frozenset({"default"}),
        behind=lambda: False,
        recorders={},
    )
    more = await rounds._run_once()
    return more, ends.end_due.call_args.args[0]


@pytest.mark.parametrize(("count", "more"), [(0, False), (63, False), (64, True), (500, True)])
async def test_a_full_round_is_followed_by_another_at_once(count: int, more: bool) -> None:
    assert (await ended(NoCalls(), count))[0] is more


@pytest.mark.parametrize(
    ("products", "closed", "is_paused"),
    [
        (("billing", "books"), "books", True),
        (("billing", "books"), "billing", False),
        (("billing",), "billing", True),  # without Books
    ],
)
async def test_who_waits_for_an_invoice_waits_for_whoever_makes_them(
    products: tuple[str, ...], closed: str, is_paused: bool
) -> None:
    _, holds = await ended(Products(*products, closed=closed))

    assert (("default", "invoice") in holds.paused) is is_paused


@pytest.mark.parametrize(
    ("priority", "is_paused"),
    [
        (MessagePriority.PAYMENTS, True),
        (MessagePriority.COMMANDS, True),
        (MessagePriority.READS, False),
        (MessagePriority.BACKFILL, False),
    ],
)
async def test_what_is_refused_to_reports_and_audits_alone_pauses_no_fact(
    priority: MessagePriority, is_paused: bool
) -> None:
    _, holds = await ended(Products("crm", closed="crm", priority=priority))

    assert (("default", "contact") in holds.paused) is is_paused
