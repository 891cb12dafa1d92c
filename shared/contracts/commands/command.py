"""What all commands have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from shared.contracts.fields import Instant

Named = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class About:
    """Whose line a command is in, and what it names anew.

    The line is that of `user_id`; else of the user who owns one of `named` (kind and id:
    subscription, payment, invoice, escalation); else of `email`; else the id itself.
    `names` is recorded at the claim, so that later commands find their line; an email given beside
    a new user or subscription means that the command needs no sign-up before it.
    """

    user_id: str | None = None
    named: Named = ()
    names: Named = ()
    email: str | None = None


class Command(BaseModel, ABC):
    """One wish of an application. Unknown fields are refused, so that a typo fails loudly."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    routing_key: ClassVar[str]

    occurred_at: Instant | None = None

    @abstractmethod
    def about(self) -> About:
        """Whose line it is, and what it names anew."""
