"""Compute what changed between two states of a ticket. Rules only, no I/O."""

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
    status_type: StatusType
    priority: str | None = None
    department: bytes | None = None
    modified_at: datetime | None = None
    gone: bool = False


@dataclass(frozen=True)
class TicketChange:
    """One change, at the time that Desk gives for it."""

    kind: ChangeKind
    at: datetime


def changes_between(
    before: TicketState,
    after: TicketState,
    *,
    closings: Sequence[datetime],
    announced: Sequence[datetime],
    seen_at: datetime,
) -> list[TicketChange]:
    """Return the changes in the order in which they happened.

    `closings`: every closing known now, from the ticket itself and from its history. `announced`:
    those announced before. `seen_at` dates what Desk gives no time for.
    """
    at = after.modified_at or seen_at
    if after.gone:
        return [] if before.gone else [TicketChange("deleted", at)]
    new_closings = unannounced_closings(closings, announced)
    changes = [TicketChange("closed", closing) for closing in new_closings]
    if after.status_type == "closed":
        if not new_closings and before.status_type != "closed" and not closings:
            changes.append(TicketChange("closed", at))
        elif not new_closings and before.status != after.status:
            changes.append(TicketChange("status", at))
    elif new_closings or before.status_type == "closed":
        changes.append(TicketChange("reopened", at))
    elif before.status != after.status:
        changes.append(TicketChange("status", at))
    if before.priority != after.priority:
        changes.append(TicketChange("priority", at))
    if before.department and after.department and before.department != after.department:
        changes.append(TicketChange("moved", at))
    return changes


def unannounced_closings(
    closings: Sequence[datetime], announced: Sequence[datetime]
) -> list[datetime]:
    """Return the closings that were not announced yet, each once, oldest first."""
    known = list(announced)
    unannounced = []
    for closing in sorted(closings):
        if not any(abs(closing - other) <= SAME_CLOSING for other in known):
            known.append(closing)
            unannounced.append(closing)
    return unannounced
