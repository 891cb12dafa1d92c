"""Define the commands by which the AI agent hands a conversation over to people."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.commands.command import Command, References
from shared.contracts.fields import Email, Id, Instant, LongText, Reason, Subject, Text, Word


class TranscriptTurn(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Word
    text: LongText
    at: Instant | None = None


class SupportEscalated(Command):
    """Open a ticket with the whole conversation. `support.escalated.v1`."""

    routing_key: ClassVar[str] = "support.escalated.v1"

    escalation_id: Id
    email: Email
    user_id: Id | None = None
    subject: Subject
    description: Text
    transcript: LongText | Annotated[tuple[TranscriptTurn, ...], Field(max_length=5_000)]
    priority: Word | None = None

    def references(self) -> References:
        return References(
            user_id=self.user_id, introduced=(("escalation", self.escalation_id),), email=self.email
        )


class _EscalationCommand(Command):
    escalation_id: Id

    def references(self) -> References:
        return References(mentioned=(("escalation", self.escalation_id),))


class SupportMessageAdded(_EscalationCommand):
    """Add a comment to the ticket. `support.message_added.v1`."""

    routing_key: ClassVar[str] = "support.message_added.v1"

    message_id: Id
    author: Word
    content: Text
    is_public: bool


class SupportPriorityRaised(_EscalationCommand):
    """Escalate an open ticket. `support.priority_raised.v1`."""

    routing_key: ClassVar[str] = "support.priority_raised.v1"

    priority: Word
    reason: Reason | None = None


class SupportCloseRequested(_EscalationCommand):
    """Close the ticket. `support.close_requested.v1`."""

    routing_key: ClassVar[str] = "support.close_requested.v1"

    resolution: Text | None = None
