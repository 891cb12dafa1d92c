"""Sending dead letters once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import uuid4

from services.operator.access.broker import Broker
from services.operator.dead_letters.dead_letter import DeadLetterMessage
from shared.errors import Unavailable


@dataclass(frozen=True)
class Selection:
    """A selection of dead letters. What is empty does not narrow it."""

    queues: Sequence[str]
    code: str | None = None
    message_ids: frozenset[str] = frozenset()
    limit: int = 10_000

    def has(self, letter: DeadLetterMessage) -> bool:
        return (self.code is None or letter.code == self.code) and (
            not self.message_ids or letter.message_id in self.message_ids
        )


class ReplayResult(StrEnum):
    """The result of replaying one dead letter."""

    REPLAYED = "replayed"
    WOULD_BE = "would be replayed"
    NEEDS_A_PERSON = "refused: look in Zoho whether it happened, then --i-know-what-happened"
    NOT_TAKEN = "not taken by the broker"


@dataclass(frozen=True)
class Replayed:
    letter: DeadLetterMessage
    fate: ReplayResult


async def replay(
    broker: Broker, selection: Selection, *, knows_what_happened: bool, dry_run: bool
) -> list[Replayed]:
    """Send each of the selected once more. One that the broker has taken leaves its dead queue.

    Killed in between, a message is in both places: it is handled once all the same.
    """
    replay_id = str(uuid4())
    done = []
    for queue in selection.queues:
        async for held in broker.dead_letters(queue, selection.limit):
            if not selection.has(held.letter):
                continue
            fate = _first_look(held.letter, knows_what_happened, dry_run)
            if fate is ReplayResult.REPLAYED:
                try:
                    await broker.send_again(held.letter, replay_id)
                    await held.remove()
                except Unavailable:
                    fate = ReplayResult.NOT_TAKEN
            done.append(Replayed(held.letter, fate))
    return done


def _first_look(
    letter: DeadLetterMessage, knows_what_happened: bool, dry_run: bool
) -> ReplayResult:
    if needs_a_person(letter) and not knows_what_happened:
        return ReplayResult.NEEDS_A_PERSON
    return ReplayResult.WOULD_BE if dry_run else ReplayResult.REPLAYED


def needs_a_person(letter: DeadLetterMessage) -> bool:
    """Money may have moved: only who has looked in Zoho may send it again.

    Even then nothing is charged blindly: the effects journal refuses until `effects resolve`.
    """
    return letter.code == "outcome_unknown"
