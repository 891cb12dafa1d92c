"""Call each method of `ZohoDesk`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from tests.contract.calls.given import Calls, a_ticket
from tests.contract.conftest import Clients

CALLS: Final = Calls()


@CALLS("create_ticket")
async def _(zoho: Clients) -> None:
    await a_ticket(zoho)


@CALLS("ticket")
async def _(zoho: Clients) -> None:
    await zoho.desk.ticket((await a_ticket(zoho)).id)


@CALLS("tickets_modified")
async def _(zoho: Clients) -> None:
    assert not [one async for one in zoho.desk.tickets_modified(*_around_now())]
    await a_ticket(zoho)
    assert [one async for one in zoho.desk.tickets_modified(*_around_now())]


@CALLS("tickets_with_customer_replies")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    await zoho.sandbox.ticket(ticket.id, "reply", direction="in")
    replies = zoho.desk.tickets_with_customer_replies(*_around_now())
    assert [answered.id async for answered in replies] == [ticket.id]


@CALLS("tickets_created")
async def _(zoho: Clients) -> None:
    await a_ticket(zoho)
    assert [one async for one in zoho.desk.tickets_created(*_around_now())]


@CALLS("update_ticket")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    await zoho.desk.update_ticket(ticket.id, priority="High")
    await zoho.desk.update_ticket(ticket.id, cf={"cf_app_escalation_id": "e1"})


@CALLS("close_tickets")
async def _(zoho: Clients) -> None:
    await zoho.desk.close_tickets([(await a_ticket(zoho)).id])


@CALLS("create_comment")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    await zoho.desk.create_comment(ticket.id, content="ref c1", is_public=False)


@CALLS("comments_of")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    assert not await zoho.desk.comments_of(ticket.id)
    await zoho.desk.create_comment(ticket.id, content="ref c1", is_public=True)
    assert await zoho.desk.comments_of(ticket.id)


@CALLS("delete_comment")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    comment = await zoho.desk.create_comment(ticket.id, content="ref c1", is_public=True)
    await zoho.desk.delete_comment(ticket.id, comment.id)
    assert not await zoho.desk.comments_of(ticket.id)


@CALLS("attachments_of")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    assert not await zoho.desk.attachments_of(ticket.id)
    await zoho.sandbox.ticket(ticket.id, "attach")
    assert await zoho.desk.attachments_of(ticket.id)


@CALLS("delete_attachment")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    await zoho.sandbox.ticket(ticket.id, "attach")
    (attachment_id,) = await zoho.desk.attachments_of(ticket.id)
    await zoho.desk.delete_attachment(ticket.id, attachment_id)
    assert not await zoho.desk.attachments_of(ticket.id)


@CALLS("move_tickets_to_trash")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    await zoho.desk.move_tickets_to_trash([ticket.id])
    assert (await zoho.desk.ticket(ticket.id)).is_trashed


@CALLS("tickets_of_contact")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    (contact,) = await zoho.desk.contacts_with_email("ada@example.com")
    assert [each.id for each in await zoho.desk.tickets_of_contact(contact.id)] == [ticket.id]


@CALLS("anonymize_contact")
async def _(zoho: Clients) -> None:
    await a_ticket(zoho)
    (contact,) = await zoho.desk.contacts_with_email("ada@example.com")
    await zoho.desk.anonymize_contact(
        contact.id, last_name="Erased user 1", email="erased-1@erased.invalid"
    )
    assert not await zoho.desk.contacts_with_email("ada@example.com")


@CALLS("status_history")
async def _(zoho: Clients) -> None:
    ticket = await a_ticket(zoho)
    await zoho.sandbox.ticket(ticket.id, "close")
    assert await zoho.desk.status_history(ticket.id)


@CALLS("contacts_with_email")
async def _(zoho: Clients) -> None:
    assert not await zoho.desk.contacts_with_email("nobody@example.com")
    await a_ticket(zoho)
    assert await zoho.desk.contacts_with_email("ada@example.com")


def _around_now() -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    return now - timedelta(hours=1), now + timedelta(hours=1)
