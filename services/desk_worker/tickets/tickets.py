"""Create tickets and comments, each once: Desk makes another one each time it is called."""

from __future__ import annotations

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
from shared.errors import ZohoRejected
from shared.zoho.effects.effects import Effects
from shared.zoho.products.desk.client import CREATE_COMMENT, CREATE_TICKET, ZohoDesk
from shared.zoho.products.desk.models import Ticket


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

        An escalation must not be lost over the shape of an address or the name of a priority:
        what Desk refuses is written into the description instead.
        """
        plain, safe = self._texts(message, remark=""), self._texts(message, _remark(message))
        if not desk_accepts(message.email):
            return await self._create(org, message, safe, as_given=False), safe
        try:
            return await self._create(org, message, plain, as_given=True), plain
        except ZohoRejected as error:
            if error.status != 422:
                raise
            return await self._create(org, message, safe, as_given=False), safe

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
        await self._effects.perform(CREATE_COMMENT, business_id, escalation.owner, effect)

    def is_of(self, ticket: Ticket, escalation_id: str) -> bool:
        """Whether this ticket is the one that the escalation made."""
        if self._field:
            return ticket.custom_field(self._field) == escalation_id
        return ends_with_ref(ticket.description, escalation_id)

    def is_ours(self, ticket: Ticket) -> bool:
        """Whether some escalation made this ticket."""
        if self._field and ticket.custom_field(self._field):
            return True
        return ends_with_any_ref(ticket.description)

    async def _create(
        self, org: str, message: SupportEscalated, texts: TicketTexts, *, as_given: bool
    ) -> Ticket:
        effect = CreateTicket(
            zoho=self._desk,
            effects=self._effects,
            org=org,
            message=message,
            email=message.email if as_given else self._fallback_email,
            priority=message.priority if as_given else None,
            description=texts.description,
            is_of=self.is_of,
        )
        owner = owner_of(org, message.user_id)
        result = await self._effects.perform(CREATE_TICKET, message.escalation_id, owner, effect)
        return Ticket.model_validate(result)

    def _texts(self, message: SupportEscalated, remark: str) -> TicketTexts:
        return ticket_texts(
            message, remark=remark, ref=None if self._field else message.escalation_id
        )


def _remark(message: SupportEscalated) -> str:
    priority = f"\nPriority asked for: {message.priority}" if message.priority else ""
    return f"Requester: {message.email}{priority}"
