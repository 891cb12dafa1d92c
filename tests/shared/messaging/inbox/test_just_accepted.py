"""What a process remembers of the messages that it has just accepted."""

from __future__ import annotations

from pydantic import BaseModel

from shared.messaging.inbox.acceptance import GivenUp
from shared.messaging.inbox.just_accepted import JustAccepted
from tests.shared.messaging.inbox.conftest import Inbox, message


class _Parsed(BaseModel):
    number: int


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_parsed_is_there_for_one_lease() -> None:
    kept = JustAccepted()
    parsed = _Parsed(number=1)
    kept.keep(1, b"mac", parsed, 100)

    assert kept.take(1, b"mac") is parsed
    assert kept.take(1, b"mac") is None
    assert kept.take(2, b"mac") is None


def test_a_number_that_was_given_again_after_a_restore_is_another_message() -> None:
    kept = JustAccepted()
    kept.keep(1, b"of one body", _Parsed(number=1), 100)

    assert kept.take(1, b"of another") is None


def test_the_oldest_are_kept_when_it_is_full() -> None:
    kept = JustAccepted()
    for number in range(5000):
        kept.keep(number, b"mac", _Parsed(number=number), 1)

    assert kept.take(0, b"mac") is not None
    assert kept.take(4999, b"mac") is None
    kept.keep(5000, b"mac", _Parsed(number=5000), 1)  # in the place of the one that was taken
    assert kept.take(5000, b"mac") is not None


def test_large_bodies_are_bounded_by_their_bytes() -> None:
    kept = JustAccepted()
    for number in range(10):
        kept.keep(number, b"mac", _Parsed(number=number), 2 * 1024 * 1024)

    assert [number for number in range(10) if kept.take(number, b"mac")] == [0, 1]


def test_what_is_not_leased_for_long_makes_room() -> None:
    clock = _Clock()
    kept = JustAccepted(clock=clock)
    kept.keep(1, b"mac", _Parsed(number=1), 4 * 1024 * 1024)
    kept.keep(2, b"mac", _Parsed(number=2), 1)
    assert kept.take(2, b"mac") is None

    clock.now = 11.0
    kept.keep(3, b"mac", _Parsed(number=3), 1)
    assert kept.take(1, b"mac") is None
    assert kept.take(3, b"mac") is not None


async def test_what_was_parsed_of_new_messages_is_kept_and_of_no_others(inbox: Inbox) -> None:
    parsed = _Parsed(number=1)
    new = message("a")._replace(parsed=parsed)
    given_up = message("b")._replace(parsed=parsed, given_up=GivenUp("invalid_message", "why"))

    await inbox.accept(new, new, given_up)
    leased = await inbox.next()

    assert inbox.just_accepted.take(leased.arrived, leased.body_mac) is parsed
    assert [
        number
        for number in range(leased.arrived - 5, leased.arrived + 5)
        if inbox.just_accepted.take(number, leased.body_mac) is not None
    ] == []


async def test_what_is_repeated_is_read_from_its_row(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.accept(message("a")._replace(parsed=_Parsed(number=1)))

    leased = await inbox.next()
    assert inbox.just_accepted.take(leased.arrived, leased.body_mac) is None
