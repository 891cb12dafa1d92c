"""Define the event of a command that was given up."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field

from shared.contracts.events.event import Event
from shared.contracts.outgoing import PeoplesText


class CommandFailed(Event):
    """A command was given up. Its body is kept as a dead letter. `command.failed.v1`.

    `code` is stable and listed in docs/errors.md. `reason` is for a person and holds neither
    personal data nor ids of Zoho's. `failed_routing_key` is `routing_key` on the wire.
    Nothing that a sender wrote can prevent this event: a link to Zoho in it is taken out.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)
    routing_key: ClassVar[str] = "command.failed.v1"

    service: str
    failed_routing_key: PeoplesText = Field(alias="routing_key")
    message_id: PeoplesText | None = None
    code: str
    reason: PeoplesText

    def subject(self) -> str:
        return f"command:{self.message_id or self.failed_routing_key}"
