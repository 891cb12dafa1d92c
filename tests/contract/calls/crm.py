"""Call each method of `ZohoCrm`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from shared.zoho.products.crm.models import ChannelToOpen, ContactToSend
from tests.contract.calls.given import Calls, a_contact
from tests.contract.conftest import Clients

CALLS: Final = Calls()


@CALLS("upsert_contacts")
async def _(zoho: Clients) -> None:
    await a_contact(zoho)
    await zoho.crm.upsert_contacts([ContactToSend("u2", "eve@example.com", phone="")])


@CALLS("update_contact")
async def _(zoho: Clients) -> None:
    contact_id = await a_contact(zoho)
    contact = ContactToSend("u1", "ada.king@example.com", "Ada", "King", tier="Paid Tier")
    assert (await zoho.crm.update_contact(contact_id, contact)).ok


@CALLS("anonymize_contact")
async def _(zoho: Clients) -> None:
    contact_id = await a_contact(zoho)
    fields = {"Last_Name": "Erased", "First_Name": None, "Email": None, "Phone": None}
    assert (await zoho.crm.anonymize_contact(contact_id, fields)).ok


@CALLS("delete_note")
async def _(zoho: Clients) -> None:
    contact_id = await a_contact(zoho)
    note = await zoho.crm.create_note(contact_id, title="A call", content="ref n1")
    assert note.id is not None
    assert (await zoho.crm.delete_note(note.id)).ok
    assert not [note async for note in zoho.crm.notes_of(contact_id)]


@CALLS("contact")
async def _(zoho: Clients) -> None:
    assert await zoho.crm.contact(await a_contact(zoho))


@CALLS("contacts_with_email")
async def _(zoho: Clients) -> None:
    assert not await zoho.crm.contacts_with_email("nobody@example.com")
    await a_contact(zoho)
    assert await zoho.crm.contacts_with_email("ada@example.com")


@CALLS("add_tags")
async def _(zoho: Clients) -> None:
    await zoho.crm.add_tags([await a_contact(zoho)], ["App User", "Active", "Free Tier"])


@CALLS("remove_tags")
async def _(zoho: Clients) -> None:
    contact_id = await a_contact(zoho)
    await zoho.crm.add_tags([contact_id], ["Trial"])
    await zoho.crm.remove_tags([contact_id], ["Trial", "Churned"])


@CALLS("create_note")
async def _(zoho: Clients) -> None:
    row = await zoho.crm.create_note(await a_contact(zoho), title="A call", content="ref n1")
    assert row.ok


@CALLS("notes_of")
async def _(zoho: Clients) -> None:
    contact_id = await a_contact(zoho)
    assert not [note async for note in zoho.crm.notes_of(contact_id)]
    await zoho.crm.create_note(contact_id, title="A call", content="ref n1")
    assert [note async for note in zoho.crm.notes_of(contact_id)]


@CALLS("contacts_modified")
async def _(zoho: Clients) -> None:
    await a_contact(zoho)
    first, last = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
    [(page, reached)] = [found async for found in zoho.crm.contacts_modified(first, last)]
    assert (len(page), reached) == (1, last)


@CALLS("existing_contacts")
async def _(zoho: Clients) -> None:
    await a_contact(zoho)
    emails = ["o'brien@example.com", "ada@example.com"]
    [found] = await zoho.crm.existing_contacts(["u1", "it's me"], emails)
    assert zoho.crm.user_of(found) == "u1"


@CALLS("open_channel")
async def _(zoho: Clients) -> None:
    result, granted = await zoho.crm.open_channel(_channel())
    assert result.ok
    assert granted


@CALLS("renew_channel")
async def _(zoho: Clients) -> None:
    assert not (await zoho.crm.renew_channel(_channel()))[0].ok
    await zoho.crm.open_channel(_channel())
    assert (await zoho.crm.renew_channel(_channel()))[0].ok


def _channel() -> ChannelToOpen:
    expires_at = datetime.now(UTC) + timedelta(days=2)
    return ChannelToOpen(1000000068001, "http://127.0.0.1:9/webhooks/crm", "a token", expires_at)
