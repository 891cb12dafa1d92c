"""Define the commands that sign up, update and erase a user, and record interactions."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import model_validator

from shared.contracts.commands.command import Command, References
from shared.contracts.fields import Email, FullName, Id, Name, Phone, Subject, Text


class UserSignedUp(Command):
    """Make the user a Billing customer and a CRM contact. `user.signed_up.v1`."""

    routing_key: ClassVar[str] = "user.signed_up.v1"

    user_id: Id
    email: Email
    full_name: FullName | None = None
    first_name: Name | None = None
    last_name: Name | None = None
    phone: Phone | None = None

    def references(self) -> References:
        return References(
            user_id=self.user_id, introduced=(("user", self.user_id),), email=self.email
        )


class UserUpdated(Command):
    """Update the fields given. An absent field stays, null empties it. `user.updated.v1`."""

    routing_key: ClassVar[str] = "user.updated.v1"

    user_id: Id
    email: Email | None = None
    full_name: FullName | None = None
    first_name: Name | None = None
    last_name: Name | None = None
    phone: Phone | None = None

    @model_validator(mode="after")
    def _says_what_changed(self) -> Self:
        if not self.changes():
            raise ValueError("at least one field besides user_id must be given")
        if self.changes().get("email", "") is None:
            raise ValueError("email cannot be emptied")
        return self

    def changes(self) -> dict[str, Any]:
        """Return the fields that were given, with their values. None means: empty the field."""
        fields = self.model_fields_set - {"user_id", "occurred_at"}
        return {field: getattr(self, field) for field in sorted(fields)}

    def references(self) -> References:
        return References(user_id=self.user_id)


class UserErasureRequested(Command):
    """Erase the user, wherever the law allows it. `user.erasure_requested.v1`."""

    routing_key: ClassVar[str] = "user.erasure_requested.v1"

    user_id: Id

    def references(self) -> References:
        return References(user_id=self.user_id)


class InteractionRecorded(Command):
    """Keep an interaction as a note on the user's CRM contact. `interaction.recorded.v1`."""

    routing_key: ClassVar[str] = "interaction.recorded.v1"

    user_id: Id
    interaction_id: Id
    title: Subject
    content: Text

    def references(self) -> References:
        return References(user_id=self.user_id)
