"""Making tickets and comments, each once: Desk would make another one each time it is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from services.desk_worker.repositories.escalations import Escalation, Escalations, owner_of
from services.desk_worker.tickets.addresses import desk_takes, last_name_of
from services.desk_worker.tickets.texts import (
    TicketTexts,
    ends_with_any_ref,
    ends_with_ref,
    ticket_texts,
    with_ref,
)
from shared.contracts.commands import SupportEscalated
from shared.errors import ZohoRejected
from shared.zoho.call.http import Permit
from shared.zoho.effects.effects import EffectKey, Effects
from shared.zoho.products.desk.client import CREATE_COMMENT, CREATE_TICKET, ZohoDesk
from shared.zoho.products.desk.models import Ticket

# Desk's clock and ours may differ; a ticket is looked for from this long before it was intended.
_CLOCKS_DIFFER = timedelta(minutes=10)


class Tickets:
    """`escalation_field`: the custom field with our id; without one, a line of the description."""

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
        """The escalation's ticket as it was made, and what its texts are.

        An escalation is too important to be lost over the shape of an address or the name of a
        priority: what Desk refuses is said in the description instead.
        """
        plain, safe = self._texts(message, remark=""), self._texts(message, _remark(message))
        if not desk_takes(message.email):
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
        """Add a comment that ends with its reference; `ref` names it within its ticket."""
        ticket_id = escalation.zoho_id

        async def act(permit: Permit) -> dict[str, Any]:
            comment = await self._desk.create_comment(
                ticket_id, content=with_ref(text, ref), is_public=is_public, permit=permit
            )
            return {"comment_id": comment.id}

        async def find() -> dict[str, Any] | None:
            for comment in await self._desk.comments_of(ticket_id):
                if ends_with_ref(comment.content, ref):
                    return {"comment_id": comment.id}
            return None

        await self._effects.perform(
            EffectKey(escalation.org, CREATE_COMMENT.name, f"{escalation.escalation_id} {ref}"),
            product="desk",
            lane=self._desk.lane,
            act=act,
            find=find,
            settle_s=CREATE_COMMENT.settle_s,
            owner=escalation.owner,
        )

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
        email = message.email if as_given else self._fallback_email

        async def act(permit: Permit) -> dict[str, Any]:
            ticket = await self._desk.create_ticket(
                email=email,
                last_name=last_name_of(message.email),
                subject=message.subject,
                description=texts.description,
                escalation_id=message.escalation_id,
                priority=message.priority if as_given else None,
                permit=permit,
            )
            return _remembered(ticket)

        async def find() -> dict[str, Any] | None:
            ticket = await self._find(org, message.escalation_id)
            return _remembered(ticket) if ticket else None

        made = await self._effects.perform(
            EffectKey(org, CREATE_TICKET.name, message.escalation_id),
            product="desk",
            lane=self._desk.lane,
            act=act,
            find=find,
            settle_s=CREATE_TICKET.settle_s,
            owner=owner_of(org, message.user_id),
        )
        return Ticket.model_validate(made)

    async def _find(self, org: str, escalation_id: str) -> Ticket | None:
        """The ticket that a lost answer may have been about: among those made since."""
        now = datetime.now(UTC)
        begun = await self._escalations.begun_at(org, CREATE_TICKET.name, escalation_id) or now
        async for ticket in self._desk.tickets_created(
            begun - _CLOCKS_DIFFER, now + _CLOCKS_DIFFER
        ):
            if self.is_of(ticket, escalation_id):
                return ticket
        return None

    def _texts(self, message: SupportEscalated, remark: str) -> TicketTexts:
        return ticket_texts(
            message, remark=remark, ref=None if self._field else message.escalation_id
        )


def _remembered(ticket: Ticket) -> dict[str, Any]:
    """What the journal keeps, by Desk's names: enough to know later what has changed since."""
    return {
        "id": ticket.id,
        "status": ticket.status,
        "statusType": ticket.status_type,
        "priority": ticket.priority,
        "departmentId": ticket.department_id,
        "modifiedTime": ticket.modified_time and ticket.modified_time.isoformat(),
    }


def _remark(message: SupportEscalated) -> str:
    priority = f"\nPriority asked for: {message.priority}" if message.priority else ""
    return f"Requester: {message.email}{priority}"
