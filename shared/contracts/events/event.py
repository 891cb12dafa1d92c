"""Define what all events have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.contracts.fields import Id, Instant
from shared.contracts.outgoing import OutgoingModel

Origin = Literal["application", "zoho"]
"""Who made the thing: a command of the application, or Zoho (its schedules, its staff)."""


class Event(OutgoingModel, ABC):
    """Something that has happened.

    The first four fields are filled in when the event is committed. Handlers leave them alone,
    except `occurred_at` where it happened at another time than now. On the wire there is also
    `subject`, which is a method here.

    An event that carries a state (`carries_state`) has a `version`, which rises with every event of
    its subject: an event with a lower one than the last seen is out of date. A fact that supersedes
    nothing, such as a payment, has none.
    """

    routing_key: ClassVar[str]
    carries_state: ClassVar[bool] = False

    event_id: Id | None = None
    occurred_at: Instant | None = None
    org: Id | None = None
    version: Annotated[int, Field(ge=1, lt=2**63)] | None = None

    @abstractmethod
    def subject(self) -> str:
        """Return what the event is about, such as `subscription:<id>`."""

    def version_subjects(self, subject: str) -> dict[str, str]:
        """Return, by field, whose version the field carries. `subject` is the event's own."""
        return {"version": subject} if self.carries_state else {}


class UserEvent(Event):
    """An event about a user."""

    user_id: Id

    def subject(self) -> str:
        return f"user:{self.user_id}"
