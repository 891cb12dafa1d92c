"""A message that was leased while an earlier one waited knows when that one is back."""

from __future__ import annotations

import pytest

from shared.messaging.inbox.line_heads import LineHeads
from tests.shared.messaging.inbox.conftest import Inbox, message


@pytest.fixture
def heads(inbox: Inbox) -> LineHeads:
    return LineHeads(inbox.pool, "test")


async def test_a_woken_message_comes_before_a_later_one_that_is_leased(
    inbox: Inbox, heads: LineHeads
) -> None:
    await inbox.accept(message("first"), message("second"))
    await inbox.wait_for(await inbox.next(), "contact", "u1")
    second = await inbox.next()
    assert await heads.is_first(second.arrived)

    await inbox.settle(facts=[("contact", "u1")])

    assert not await heads.is_first(second.arrived)
    await inbox.put_back(second, due_s=0, end_s=100)
    first = await inbox.next()
    assert first.message_id == "first"
    assert await heads.is_first(first.arrived)


async def test_a_message_that_stands_behind_the_leased_one_takes_nothing_from_it(
    inbox: Inbox, heads: LineHeads
) -> None:
    await inbox.accept(message("first"), message("second"))

    assert await heads.is_first((await inbox.next()).arrived)


async def test_a_message_that_is_settled_has_nobody_before_it(
    inbox: Inbox, heads: LineHeads
) -> None:
    await inbox.accept(message("first"))
    first = await inbox.next()
    await inbox.settle(first)

    assert await heads.is_first(first.arrived)
