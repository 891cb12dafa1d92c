"""Erase a user in Desk: the contact's fields, and its tickets, comments and attachments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from services.desk_worker.repositories.escalations import Escalations
from services.desk_worker.tickets.tickets import Tickets
from shared.contracts.webhooks import Product
from shared.crypto.envelope import UserKey
from shared.erasing.outcome import PartOutcome
from shared.erasing.placeholder import Placeholders
from shared.erasing.row_cleanup import RowCleanup
from shared.errors import ZohoRejected
from shared.zoho.effects.effects import EffectKey, Effects
from shared.zoho.products.desk.client import CREATE_TICKET, ZohoDesk
from shared.zoho.products.desk.models import Ticket

CLEANUP: Final = RowCleanup(
    before=(
        """
        DELETE FROM desk.transitions t USING desk.escalations e
        WHERE e.org = $1 AND e.user_id = $2
          AND t.org = e.org AND t.escalation_id = e.escalation_id
        """,
        # Of tickets that named no user and are this one's.
        """
        DELETE FROM relay.effects f USING desk.escalations e
        WHERE e.org = $1 AND e.user_id = $2 AND f.org = e.org AND f.owner IS NULL
          AND f.product = 'desk' AND split_part(f.business_id, ' ', 1) = e.escalation_id
        """,
        # They stood in the line of their email, whose name is a digest. What comes later about such
        # a ticket is refused like all that is the user's.
        """
        UPDATE desk.names n SET line = 'user:' || $2::text FROM desk.escalations e
        WHERE e.org = $1 AND e.user_id = $2 AND n.org = e.org
          AND n.kind = 'escalation' AND n.name = e.escalation_id AND n.line LIKE 'email:%'
        """,
        """
        DELETE FROM desk.dead_letters d USING desk.blind_index b
        WHERE b.org = $1 AND b.user_id = $2 AND b.kind IN ('email', 'user email')
          AND d.org = b.org AND d.line = 'email:' || encode(b.index, 'hex')
          AND NOT EXISTS (
              SELECT FROM desk.blind_index o
              WHERE o.org = b.org AND o.index = b.index AND o.kind IN ('email', 'user email')
                AND o.row <> b.row AND NOT EXISTS (
                    SELECT FROM relay.tombstones t WHERE t.org = o.org AND t.user_id = o.user_id))
        """,
    )
)
_CLOCKS_DIFFER: Final = timedelta(minutes=10)
_NO_MORE: Final = "Erased"


@dataclass(frozen=True, kw_only=True)
class DeskErasure:
    """Desk's part.

    `delete_tickets`: comments and attachments go, the ticket is emptied and moved to the recycle
    bin. Otherwise tickets stay as they are, and the receipt names them. `fallback_email` is the
    address of a contact that stands for many.
    """

    desk: ZohoDesk
    effects: Effects
    escalations: Escalations
    tickets: Tickets
    placeholders: Placeholders
    fallback_email: str
    delete_tickets: bool
    product: Product = "desk"

    async def erase(self, user: UserKey, outcome: PartOutcome) -> None:
        await self._find(user, outcome)
        if self.delete_tickets:
            for ticket_id in outcome.ids("ticket"):
                await self._delete_ticket(user, ticket_id, outcome)
        for contact_id in outcome.ids("contact"):
            await self._empty_contact(user, contact_id, outcome)
        watched = await self.escalations.ids_of_user(user.org, user.user_id)
        reason = (
            "emptied, in Desk's recycle bin with its mails until it is emptied there"
            if self.delete_tickets
            else "kept by configuration, with its comments, mails and attachments"
        )
        outcome.keep("ticket", reason, ids=watched, count=len(outcome.ids("ticket")))
        outcome.keep("contact", "an empty record", count=len(outcome.ids("contact")))
        outcome.keep(
            "contact", "another user has the same email", count=len(outcome.ids("shared contact"))
        )
        outcome.keep(
            "contact",
            "requester of a ticket that was made for the user, not known to be the user",
            count=len(outcome.ids("unknown contact")),
        )

    async def _find(self, user: UserKey, outcome: PartOutcome) -> None:
        """Find the user's tickets and contacts, and remember them.

        All tickets of a contact of the user's are the user's. Of a contact that another user has
        too, only those are that we made for the user.
        """
        watched = await self.escalations.of_user(user.org, user.user_id)
        known = [each.zoho_id for each in watched]
        made = [ticket_id for ticket_id in await self._made(user) if ticket_id not in known]
        await outcome.remember({"ticket": [*known, *made]})
        # By email, since staff may have given a ticket to somebody else's contact. The contact of a
        # new ticket may be missing in searches for minutes.
        of_tickets = await self._contacts_of([*known, *made])
        emails = {each.email.casefold() for each in watched}
        for ticket_id, contact_id, email in of_tickets:
            if ticket_id not in made or email in (*emails, self.fallback_email.casefold()):
                continue
            if await self.escalations.has_email(user.org, user.user_id, email):
                emails.add(email)
            elif contact_id not in outcome.ids("contact"):  # which an earlier attempt has emptied
                await outcome.remember({"unknown contact": [contact_id]})
        for email in sorted(emails - {self.fallback_email.casefold()}):
            contacts = [contact.id for contact in await self.desk.contacts_with_email(email)]
            contacts += [contact_id for _, contact_id, found in of_tickets if found == email]
            if await self.escalations.others_with_email(user.org, email, user.user_id):
                await outcome.remember({"shared contact": contacts})
                continue
            await outcome.remember({"contact": contacts})
        for contact_id in outcome.ids("contact"):
            tickets = await self.desk.tickets_of_contact(contact_id)
            await outcome.remember({"ticket": [ticket.id for ticket in tickets]})
        await self.escalations.give_to(user.org, user.user_id, outcome.ids("ticket"))

    async def _made(self, user: UserKey) -> list[str]:
        """Tickets of which only the journal knows: the answer, or our commit, was lost."""
        found = []
        for each in await self.effects.made_for(user, self.product):
            if each.operation != CREATE_TICKET.name:
                continue
            if each.result is not None:
                found.append(str(each.result["id"]))
            else:
                found += await self._unanswered(user, each.business_id)
        return found

    async def _unanswered(self, user: UserKey, escalation_id: str) -> Sequence[str]:
        now = datetime.now(UTC)
        key = EffectKey(user.org, CREATE_TICKET.name, escalation_id)
        begun = await self.effects.begun_at(key) or now
        return [
            ticket.id
            async for ticket in self.desk.tickets_created(
                begun - _CLOCKS_DIFFER, now + _CLOCKS_DIFFER
            )
            if self.tickets.is_of(ticket, escalation_id)
        ]

    async def _contacts_of(self, ticket_ids: Sequence[str]) -> list[tuple[str, str, str]]:
        """Return (ticket, contact, the contact's email) of the tickets that can be read."""
        tickets = [await self._read(ticket_id) for ticket_id in ticket_ids]
        return [
            (ticket.id, ticket.contact.id, ticket.contact.email.casefold())
            for ticket in tickets
            if ticket and ticket.contact and ticket.contact.id and ticket.contact.email
        ]

    async def _read(self, ticket_id: str) -> Ticket | None:
        try:
            return await self.desk.ticket(ticket_id)
        except ZohoRejected:  # merged away, or hidden from us
            return None

    async def _delete_ticket(self, user: UserKey, ticket_id: str, outcome: PartOutcome) -> None:
        ticket = await self._read(ticket_id)
        if ticket is not None and ticket.is_trashed:
            # By an earlier attempt, whose answer was lost, or by staff. Its parts went before it.
            for what in ("comment", "attachment"):
                for _ in outcome.ids(f"{what} of {ticket_id}"):
                    outcome.count(what)
            outcome.count("ticket")
            return
        await self._delete_parts(ticket_id, outcome)
        with outcome.erasing("ticket"):
            await self.desk.update_ticket(
                ticket_id,
                subject=_NO_MORE,
                description=_NO_MORE,
                email=self.placeholders.of(user).email,
                phone=None,
            )
            await self.desk.move_tickets_to_trash([ticket_id])

    async def _delete_parts(self, ticket_id: str, outcome: PartOutcome) -> None:
        comments, attachments = f"comment of {ticket_id}", f"attachment of {ticket_id}"
        try:
            found = {
                comments: [each.id for each in await self.desk.comments_of(ticket_id)],
                attachments: await self.desk.attachments_of(ticket_id),
            }
        except ZohoRejected:
            return  # the ticket itself will be refused, and named
        await outcome.remember(found)
        for comment_id in outcome.ids(comments):
            with outcome.erasing("comment"):
                await self.desk.delete_comment(ticket_id, comment_id)
        for attachment_id in outcome.ids(attachments):
            with outcome.erasing("attachment"):
                await self.desk.delete_attachment(ticket_id, attachment_id)

    async def _empty_contact(self, user: UserKey, contact_id: str, outcome: PartOutcome) -> None:
        placeholder = self.placeholders.of(user)
        with outcome.erasing("contact"):
            await self.desk.anonymize_contact(
                contact_id, last_name=placeholder.name, email=placeholder.email
            )
