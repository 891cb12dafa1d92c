"""Whoever settles a message hears whether something is due because of it, and a look shows it."""

from __future__ import annotations

from shared.messaging.inbox.lines import DueState, MessageOutcome, WaitKind
from tests.shared.messaging.inbox.conftest import Inbox, message


async def test_the_settlement_of_the_only_message_leaves_nothing_due(inbox: Inbox) -> None:
    await inbox.accept(message("only", "u1"))
    only = await inbox.next()

    await inbox.settle(only)

    assert inbox.left_due is False
    assert await inbox.lines.due_state() is DueState.EMPTY


async def test_the_next_of_a_line_is_left_due(inbox: Inbox) -> None:
    await inbox.accept(message("first", "u1"), message("next", "u1"))
    first = await inbox.next()
    assert await inbox.lines.due_state() is DueState.LATER  # it may lapse

    await inbox.settle(first, outcome=MessageOutcome.KEPT)
    assert inbox.left_due is False
    await inbox.settle(first)

    assert inbox.left_due is True
    assert await inbox.lines.due_state() is DueState.DUE


async def test_who_waits_for_a_fact_is_left_due_by_whoever_records_it(inbox: Inbox) -> None:
    await inbox.accept(message("waits", "u1"))
    await inbox.wait_for(await inbox.next(), "invoice", "i1")
    assert await inbox.lines.due_state() is DueState.EMPTY  # nothing comes due by itself

    await inbox.settle(facts=[("invoice", "i1")])

    assert inbox.left_due is True
    assert await inbox.ids() == ["waits"]


async def test_a_look_sees_what_time_makes_due(inbox: Inbox) -> None:
    await inbox.accept(message("retried", "u1"), message("looked for", "u2"))
    retried, looked_for = await inbox.leased()
    await inbox.put_back(retried, due_s=20.0)
    await inbox.put_back(looked_for, kind=WaitKind.LOOK, due_s=40.0)

    assert await inbox.lines.due_state() is DueState.LATER
    inbox.after(21)
    assert await inbox.lines.due_state() is DueState.DUE
    [retried] = await inbox.leased(lease_s=60)
    await inbox.settle(retried)
    assert await inbox.lines.due_state() is DueState.LATER
    inbox.after(20)
    assert await inbox.lines.due_state() is DueState.DUE


async def test_a_look_sees_a_lease_that_lapsed(inbox: Inbox) -> None:
    await inbox.accept(message("abandoned", "u1"))
    await inbox.leased(lease_s=4)

    inbox.after(3)
    assert await inbox.lines.due_state() is DueState.LATER
    inbox.after(2)
    assert await inbox.lines.due_state() is DueState.DUE
