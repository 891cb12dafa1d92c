"""Hold slots for messages while they are stored, and start those that were leased with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from shared.messaging.dispatch.slots import Slots
from shared.messaging.inbox.arrived_message import ArrivedMessage
from shared.messaging.inbox.leasing_at_once import LeaseTerms
from shared.messaging.inbox.lines import LeasedMessage


class HeldSlots:
    """A `SlotOffer`. `start_one` takes a slot itself. `give_back` gives back what was not used."""

    def __init__(
        self,
        slots: Slots,
        group: Sequence[ArrivedMessage],
        wanted: Sequence[bool],
        terms: LeaseTerms,
        start_one: Callable[[LeasedMessage], None],
    ) -> None:
        self.wanted = wanted
        self.terms = terms
        self._slots = slots
        self._start_one = start_one
        self._held = Counter(
            message.priority for message, is_wanted in zip(group, wanted, strict=True) if is_wanted
        )
        for priority in self._held.elements():
            slots.take(priority)

    def start(self, leased: Sequence[LeasedMessage]) -> None:
        for message in leased:
            self._held[message.priority] -= 1
            self._slots.give_back(message.priority)
            self._start_one(message)

    def give_back(self) -> None:
        for priority in self._held.elements():
            self._slots.give_back(priority)
