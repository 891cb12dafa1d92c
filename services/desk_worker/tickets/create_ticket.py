"""Create an escalation's ticket in Desk, once for each escalation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from services.desk_worker.tickets.addresses import last_name_of
from shared.contracts.commands import SupportEscalated
from shared.contracts.fingerprint import fingerprint
from shared.zoho.effects.effects import Effect, EffectKey, EffectResult, Effects
from shared.zoho.products.desk.client import CREATE_TICKET, ZohoDesk
from shared.zoho.products.desk.models import Ticket

# Desk's clock and ours may differ. A ticket is looked for from this long before it was intended.
_CLOCKS_DIFFER = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class CreateTicket(Effect[ZohoDesk]):
    """The ticket of one escalation. `is_of` says whether a ticket of Desk's is that one.

    `with_field`: our custom field carries the escalation's id. Otherwise the description does.
    """

    zoho: ZohoDesk
    effects: Effects
    org: str
    message: SupportEscalated
    email: str
    priority: str | None
    with_field: bool
    description: str
    is_of: Callable[[Ticket, str], bool]

    async def act(self, zoho: ZohoDesk) -> EffectResult:
        ticket = await zoho.create_ticket(
            email=self.email,
            last_name=last_name_of(self.message.email),
            subject=self.message.subject,
            description=self.description,
            escalation_id=self.message.escalation_id if self.with_field else None,
            priority=self.priority,
        )
        return self._result(ticket)

    async def find(self) -> EffectResult | None:
        """Look among the tickets that were made since the first intent."""
        now = datetime.now(UTC)
        key = EffectKey(self.org, CREATE_TICKET.name, self.message.escalation_id)
        begun = await self.effects.begun_at(key) or now
        async for ticket in self.zoho.tickets_created(begun - _CLOCKS_DIFFER, now + _CLOCKS_DIFFER):
            if self.is_of(ticket, self.message.escalation_id):
                return self._result(ticket)
        return None

    def _result(self, ticket: Ticket) -> EffectResult:
        """Return what the journal keeps, by Desk's names: enough to see later what has changed."""
        replied = ticket.customer_response_time
        return {
            "fingerprint": fingerprint(self.message),
            "id": ticket.id,
            "status": ticket.status,
            "statusType": ticket.status_type,
            "priority": ticket.priority,
            "departmentId": ticket.department_id,
            "modifiedTime": ticket.modified_time and ticket.modified_time.isoformat(),
            "customerResponseTime": replied and replied.isoformat(),
        }
