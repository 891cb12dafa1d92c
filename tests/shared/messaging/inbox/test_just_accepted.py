"""What a process remembers of the messages that it has just accepted."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from shared.messaging.inbox import just_accepted
from shared.messaging.inbox.arrived_message import GivenUp
from shared.messaging.inbox.just_accepted import JustAccepted, MessageIdentity
from shared.messaging.inbox.lines import LeasedMessage
from tests.shared.messaging.inbox.conftest import ROUTE, Inbox, message


class _Parsed(BaseModel):
    number: int


def _identity(arrived: int, *, routing_key: str = ROUTE, mac: bytes = b"mac") -> MessageIdentity:
    return MessageIdentity(arrived, "default", routing_key, mac)


def _identity_of(leased: LeasedMessage) -> MessageIdentity:
    return MessageIdentity(leased.arrived, leased.org, leased.routing_key, leased.body_mac)


async def test_what_was_parsed_is_there_for_one_lease() -> None:
    kept = JustAccepted()
    parsed = _Parsed(number=1)
    kept.keep(_identity(1), parsed, 100)

    assert kept.take(_identity(1)) is parsed
    assert kept.take(_identity(1)) is None
    assert kept.take(_identity(2)) is None


@pytest.mark.parametrize(
    "other", [_identity(1, mac=b"of another body"), _identity(1, routing_key="other.v1")]
)
async def test_a_number_that_was_given_again_after_a_restore_is_another_message(
    other: MessageIdentity,
) -> None:
    kept = JustAccepted()
    kept.keep(_identity(1), _Parsed(number=1), 100)

    assert kept.take(other) is None


async def test_the_oldest_are_kept_when_it_is_full() -> None:
    kept = JustAccepted()
    for number in range(5000):
        kept.keep(_identity(number), _Parsed(number=number), 1)

    assert kept.take(_identity(0)) is not None
    assert kept.take(_identity(4999)) is None
    kept.keep(_identity(5000), _Parsed(number=5000), 1)  # in the place of the one that was taken
    assert kept.take(_identity(5000)) is not None


async def test_large_bodies_are_bounded_by_their_bytes() -> None:
    kept = JustAccepted()
    for _ in range(3):  # the same again takes no more room
        for number in range(10):
            kept.keep(_identity(number), _Parsed(number=number), 2 * 1024 * 1024)

    assert [number for number in range(10) if kept.take(_identity(number))] == [0, 1]


async def test_what_is_not_leased_is_forgotten_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(just_accepted, "KEPT_S", 0.05)
    kept = JustAccepted()
    kept.keep(_identity(1), _Parsed(number=1), 1)
    await asyncio.sleep(0)
    kept.keep(_identity(2), _Parsed(number=2), 1)

    async with asyncio.timeout(10):
        while len(kept):  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0.01)


async def test_what_is_too_old_is_read_from_its_row() -> None:
    now = 0.0
    kept = JustAccepted(clock=lambda: now)
    kept.keep(_identity(1), _Parsed(number=1), 1)

    now = just_accepted.KEPT_S
    assert kept.take(_identity(1)) is None


async def test_what_was_parsed_of_new_messages_is_kept_and_of_no_others(inbox: Inbox) -> None:
    parsed = _Parsed(number=1)
    new = message("a")._replace(parsed=parsed)
    given_up = message("b")._replace(parsed=parsed, given_up=GivenUp("invalid_message", "why"))

    await inbox.accept(new, new, given_up)

    assert len(inbox.just_accepted) == 1
    assert inbox.just_accepted.take(_identity_of(await inbox.next())) is parsed


async def test_what_is_repeated_is_read_from_its_row(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.accept(message("a")._replace(parsed=_Parsed(number=1)))

    assert inbox.just_accepted.take(_identity_of(await inbox.next())) is None
