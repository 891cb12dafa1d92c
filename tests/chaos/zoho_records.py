"""Look at what Zoho holds of some users, in the order in which it was made."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection

from deploy.driving.system_driver import SystemDriver
from tests.kit.people import email_of

_PATIENCE_S = 120.0


async def once_there(stage: SystemDriver, users: Collection[str]) -> None:
    """Return once Billing and CRM have all of them. Raises AssertionError: one is there twice."""
    emails = {email_of(user) for user in users}
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            state = await stage.sandbox.state()
            found = [
                Counter(row[field] for row in state[product].get(kind, ()) if row[field] in emails)
                for product, kind, field in (
                    ("billing", "customers", "email"),
                    ("crm", "contacts", "Email"),
                )
            ]
            if all(set(counts) == emails for counts in found):
                break
            await asyncio.sleep(0.3)
    assert found == [dict.fromkeys(emails, 1)] * 2


async def notes_by_user(
    stage: SystemDriver, users: Collection[str], *, each: int
) -> dict[str, list[str]]:
    """The ids of the interactions that each user's contact has as notes, the oldest first.

    Returns once everybody has so many. Raises TimeoutError.
    """
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            notes = await _notes_by_user(stage, users)
            if all(len(notes[user]) >= each for user in users):
                return notes
            await asyncio.sleep(0.3)


async def _notes_by_user(stage: SystemDriver, users: Collection[str]) -> dict[str, list[str]]:
    crm = (await stage.sandbox.state())["crm"]
    user_of = {email_of(user): user for user in users}
    owner = {
        contact["id"]: user_of[contact["Email"]]
        for contact in crm["contacts"]
        if contact.get("Email") in user_of
    }
    notes: dict[str, list[str]] = defaultdict(list)
    for note in crm["notes"]:
        if (user := owner.get(note["Parent_Id"]["id"])) is not None:
            notes[user].append(str(note["Note_Content"]).rpartition("ref ")[2])
    return notes
