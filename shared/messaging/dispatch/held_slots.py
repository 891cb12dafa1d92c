"""Hold slots for messages while they are stored, and start those that were leased with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from shared.messaging.dispatch.slots import Slots
from shared.messaging.inbox.arrived_message import ArrivedMessage
from shared.messaging.inbox.leasing_at_once import LeaseTerms
from shared.messaging.inbox.lines import LeasedMessage


class HeldSlots:
    """A `SlotOffer`: a slot for each message of the group that `fits`, while there is one.

    `start_one` takes the slot itself.
    """

    def __init__(
        self,
        slots: Slots,
        group: Sequence[ArrivedMessage],
        terms: LeaseTerms,
        *,
        fits: Callable[[ArrivedMessage], bool],
        start_one: Callable[[LeasedMessage], None],
    ) -> None:
        self._slots = slots
        self._start_one = start_one
        self._held: Counter[int] = Counter()
        self.wanted = [fits(message) and self._hold(message.priority) for message in group]
        self.terms = terms.of(
            {
                message.route or message.routing_key
                for message, wanted in zip(group, self.wanted, strict=True)
                if wanted
            }
        )

    def _hold(self, priority: int) -> bool:
        if not self._slots.shares()[priority]:
            return False
        self._slots.take(priority)
        self._held[priority] += 1
        return True

    def start(self, leased: Sequence[LeasedMessage]) -> None:
        for message in leased:
            self._held[message.priority] -= 1
            self._slots.give_back(message.priority)
            self._start_one(message)

    def give_back(self) -> bool:
        """Give back what is held still. Whether there was any."""
        left = [*self._held.elements()]
        for priority in left:
            self._slots.give_back(priority)
        return bool(left)
