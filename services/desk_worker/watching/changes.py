"""Compute what changed between two states of a ticket. Rules only, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

StatusType = Literal["open", "onhold", "closed"]
ChangeKind = Literal[
    "closed",
    "reopened",
    "status",
    "priority",
    "moved",
    "deleted",
    "comment",
    "reply",
    "customer_reply",
]

# `closedTime` and the history date the same closing differently, by the time that Desk took for it.
_SAME_CLOSING = timedelta(seconds=5)


@dataclass(frozen=True)
class TicketState:
    """A ticket as it was read. `department` is a MAC. Times are None where Desk hides them."""

    status: str
    status_type: StatusType
    priority: str | None = None
    department: bytes | None = None
    modified_at: datetime | None = None
    customer_replied_at: datetime | None = None
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

    `closings`: every closing known now, each once (`distinct_closings`). `announced`: those
    announced before. `seen_at` dates what Desk gives no time for.
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
    if customer_replied(before, after.customer_replied_at):
        changes.append(TicketChange("customer_reply", after.customer_replied_at or at))
    return changes


def customer_replied(known: TicketState, replied_at: datetime | None) -> bool:
    """Whether this reply of the customer is newer than what is known.

    The description is the ticket's first reply, and as old as the ticket.
    """
    since = known.customer_replied_at or known.modified_at
    return replied_at is not None and since is not None and replied_at > since


def distinct_closings(last: datetime | None, history: Sequence[datetime]) -> list[datetime]:
    """Return every closing once, oldest first.

    `last`: when the ticket was closed, where it is closed now. The newest entry of the history is
    the same closing, when it is of about that time. Two entries of the history are two closings,
    however soon one followed the other.
    """
    closings = sorted(history)
    if last is not None:
        if closings and abs(closings[-1] - last) <= _SAME_CLOSING:
            closings.pop()
        closings.append(last)
    return sorted(closings)


def unannounced_closings(
    closings: Sequence[datetime], announced: Sequence[datetime]
) -> list[datetime]:
    """Return the closings that were not announced yet, oldest first.

    An announced one stands for one closing: that of exactly its time, or the first of about that.
    """
    left = sorted(set(closings) - set(announced))
    for time in sorted(set(announced) - set(closings)):
        same = next((closing for closing in left if abs(closing - time) <= _SAME_CLOSING), None)
        if same is not None:
            left.remove(same)
    return left


def is_ambiguous(closing: datetime, announced: Sequence[datetime]) -> bool:
    """Whether the closing may be one that was announced under about the same time."""
    return closing not in announced and not unannounced_closings([closing], announced)
