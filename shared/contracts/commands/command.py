"""Define what all commands have in common, and what a command refers to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from shared.contracts.fields import Instant

EntityIds = tuple[tuple[str, str], ...]
"""Kind and id: user, subscription, payment, invoice, escalation."""


@dataclass(frozen=True, slots=True)
class References:
    """The things that a command refers to. Its ordering key follows from them.

    The key is `user_id`, else the user who owns the first of `mentioned` that is known, else
    `email`, else the id itself. `introduced` holds the ids that the command names for the first
    time. They are recorded when it is accepted, so that later commands find the same key. An email
    beside a new user or subscription means that the command needs no sign-up before it.
    """

    user_id: str | None = None
    mentioned: EntityIds = ()
    introduced: EntityIds = ()
    email: str | None = None


class Command(BaseModel, ABC):
    """One request of an application. Unknown fields are refused, so that a typo fails loudly."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    routing_key: ClassVar[str]

    occurred_at: Instant | None = None

    @abstractmethod
    def references(self) -> References:
        """Return what the command refers to."""
