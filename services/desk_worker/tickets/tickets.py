"""Create tickets and comments, each once: Desk makes another one each time it is called."""

from __future__ import annotations

from collections.abc import Set
from typing import Literal

from services.desk_worker.repositories.escalations import Escalation, Escalations, owner_of
from services.desk_worker.tickets.addresses import desk_accepts
from services.desk_worker.tickets.create_comment import CreateComment
from services.desk_worker.tickets.create_ticket import CreateTicket
from services.desk_worker.tickets.texts import (
    TicketTexts,
    ends_with_any_ref,
    ends_with_ref,
    ticket_texts,
)
from shared.contracts.commands import SupportEscalated
from shared.contracts.fingerprint import fingerprint
from shared.errors import PermanentError, ZohoRejected
from shared.zoho.effects.effects import Effects
from shared.zoho.products.desk.client import CREATE_COMMENT, CREATE_TICKET, ZohoDesk
from shared.zoho.products.desk.models import Ticket

# What a ticket can do without, or with a substitute. `field` is the custom field with our id.
Replaceable = Literal["email", "priority", "field"]


class Tickets:
    """Creates tickets and comments, and recognizes ours.

    `escalation_field`: the custom field with our id. Without one, a line of the description.
    """

    def __init__(
        self,
        desk: ZohoDesk,
        effects: Effects,
        escalations: Escalations,
        *,
        escalation_field: str | None,
        fallback_email: str,
    ) -> None:
        self._desk = desk
        self._effects = effects
        self._escalations = escalations
        self._field = escalation_field
        self._fallback_email = fallback_email

    async def open(self, org: str, message: SupportEscalated) -> tuple[Ticket, TicketTexts]:
        """Create the escalation's ticket, and return it with its texts.

        An escalation must not be lost over the shape of an address or the name of a priority: what
        Desk refuses, and only that, is left out or replaced, and written into the description.
        """
        refused: set[Replaceable] = set() if desk_accepts(message.email) else {"email"}
        while True:
            texts = self._texts(message, refused)
            try:
                return await self._create(org, message, texts, refused), texts
            except ZohoRejected as error:
                named = self._named(error, refused)
                if not named:
                    raise
                refused |= named

    async def comment(
        self, escalation: Escalation, ref: str, text: str, *, is_public: bool
    ) -> None:
        """Add a comment that ends with its reference. `ref` names it within its ticket."""
        effect = CreateComment(
            zoho=self._desk,
            ticket_id=escalation.zoho_id,
            reference=ref,
            text=text,
            is_public=is_public,
        )
        business_id = f"{escalation.escalation_id} {ref}"
        result = await self._effects.perform(CREATE_COMMENT, business_id, escalation.owner, effect)
        if result.get("fingerprint") != effect.fingerprint:
            raise PermanentError("this message was added with other content", code="id_taken")

    def is_of(self, ticket: Ticket, escalation_id: str) -> bool:
        """Whether this ticket is the one that the escalation made."""
        if self._field and ticket.custom_field(self._field) == escalation_id:
            return True
        return ends_with_ref(ticket.description, escalation_id)

    def is_ours(self, ticket: Ticket) -> bool:
        """Whether some escalation made this ticket."""
        if self._field and ticket.custom_field(self._field):
            return True
        return ends_with_any_ref(ticket.description)

    async def _create(
        self, org: str, message: SupportEscalated, texts: TicketTexts, refused: Set[Replaceable]
    ) -> Ticket:
        effect = CreateTicket(
            zoho=self._desk,
            effects=self._effects,
            org=org,
            message=message,
            email=self._fallback_email if "email" in refused else message.email,
            priority=None if "priority" in refused else message.priority,
            with_field="field" not in refused,
            description=texts.description,
            is_of=self.is_of,
        )
        owner = owner_of(org, message.user_id)
        result = await self._effects.perform(CREATE_TICKET, message.escalation_id, owner, effect)
        if result.get("fingerprint") != fingerprint(message):
            raise PermanentError("this escalation was opened with other content", code="id_taken")
        return Ticket.model_validate(result)

    def _named(self, error: ZohoRejected, refused: Set[Replaceable]) -> set[Replaceable]:
        """Return what Desk refuses now and did not before, as far as we can do without it.

        Where Desk names no field, the likely ones are tried first. Empty: the ticket is refused.
        """
        if error.status != 422:
            return set()
        if not error.fields:
            likely: set[Replaceable] = {"email", "priority"}
            last: set[Replaceable] = {"field"}
            return (likely - refused) or (last - refused)
        named = {self._replaceable(field) for field in error.fields}
        return set() if None in named else {name for name in named if name} - refused

    def _replaceable(self, field: str) -> Replaceable | None:
        match field.split("/"):
            case ["priority"]:
                return "priority"
            case ["email"] | ["contact"] | ["contact", "email"]:
                return "email"
            case ["cf"] | ["cf", _]:
                return "field"
            case [name] if name == self._field:
                return "field"
            case _:
                return None

    def _texts(self, message: SupportEscalated, refused: Set[Replaceable]) -> TicketTexts:
        with_field = self._field is not None and "field" not in refused
        return ticket_texts(
            message,
            remark=_remark(message, refused),
            ref=None if with_field else message.escalation_id,
        )


def _remark(message: SupportEscalated, refused: Set[Replaceable]) -> str:
    lines = []
    if "email" in refused:
        lines.append(f"Requester: {message.email}")
    if "priority" in refused and message.priority:
        lines.append(f"Priority asked for: {message.priority}")
    return "\n".join(lines)
