"""What all events have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.contracts.fields import Id, Instant
from shared.contracts.outgoing import OutgoingModel

Origin = Literal["application", "zoho"]
"""Who made it: a command of the application, or Zoho (its schedules, its staff)."""


class Event(OutgoingModel, ABC):
    """Something that has become so.

    The first four fields are filled in when the event is committed; handlers leave them alone,
    except `occurred_at` where it happened at another time than now. `version` rises with every
    event of one subject: what carries a lower one than the last seen is out of date.
    On the wire there is also `subject`, which here is a method.
    """

    routing_key: ClassVar[str]

    event_id: Id | None = None
    occurred_at: Instant | None = None
    org: Id | None = None
    version: Annotated[int, Field(ge=1, lt=2**63)] | None = None

    @abstractmethod
    def subject(self) -> str:
        """What it is about, such as `user:<id>`: the line along which versions rise."""


class OfUser(Event):
    """An event of a user's line."""

    user_id: Id

    def subject(self) -> str:
        return f"user:{self.user_id}"
