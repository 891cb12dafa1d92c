"""Work out what has happened to a ticket between two states of it. Rules only, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

StatusType = Literal["open", "onhold", "closed"]
ChangeKind = Literal[
    "closed", "reopened", "status", "priority", "moved", "deleted", "comment", "reply"
]

# `closedTime` and the history date the same closing differently, by the time that Desk took for
# it. Who closes, reopens and closes within this time has closed once.
SAME_CLOSING = timedelta(seconds=5)


@dataclass(frozen=True)
class TicketState:
    """A ticket as it was read. `department` is a MAC. `modified_at` is None where Desk hides it."""

    status: str
    kind: StatusType
    priority: str | None = None
    department: bytes | None = None
    modified_at: datetime | None = None
    gone: bool = False


@dataclass(frozen=True)
class TicketChange:
    what: ChangeKind
    at: datetime


def happenings(
    before: TicketState,
    after: TicketState,
    *,
    closings: Sequence[datetime],
    told: Sequence[datetime],
    seen_at: datetime,
) -> list[TicketChange]:
    """In the order in which they happened.

    `closings`: every closing known now, from the ticket itself and from its history. `told`: those
    told before. `seen_at` dates what Desk gives no time for.
    """
    at = after.modified_at or seen_at
    if after.gone:
        return [] if before.gone else [TicketChange("deleted", at)]
    untold = untold_closings(closings, told)
    found = [TicketChange("closed", closing) for closing in untold]
    if after.kind == "closed":
        if not untold and before.kind != "closed" and not closings:
            found.append(TicketChange("closed", at))
        elif not untold and before.status != after.status:
            found.append(TicketChange("status", at))
    elif untold or before.kind == "closed":
        found.append(TicketChange("reopened", at))
    elif before.status != after.status:
        found.append(TicketChange("status", at))
    if before.priority != after.priority:
        found.append(TicketChange("priority", at))
    if before.department and after.department and before.department != after.department:
        found.append(TicketChange("moved", at))
    return found


def untold_closings(closings: Sequence[datetime], told: Sequence[datetime]) -> list[datetime]:
    """Return the closings that were not announced yet, each once, oldest first."""
    known = list(told)
    untold = []
    for closing in sorted(closings):
        if not any(abs(closing - one) <= SAME_CLOSING for one in known):
            known.append(closing)
            untold.append(closing)
    return untold
