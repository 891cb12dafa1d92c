"""Announce what staff wrote to the user: public comments and replies, never private comments.

Agents use private comments as internal notes. A comment is read again before its text leaves,
because a webhook's signature does not cover its body.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.desk_worker.repositories.escalations import Escalation, Escalations
from services.desk_worker.tickets.texts import ends_with_any_ref
from services.desk_worker.watching.changes import TicketChange
from services.desk_worker.watching.ticket_events import announce_message
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.desk.client import ZohoDesk


class StaffMessages:
    """Announces comments and replies of staff, each once."""

    def __init__(self, escalations: Escalations, desk: ZohoDesk) -> None:
        self._escalations = escalations
        self._desk = desk

    async def announce(
        self, work: UnitOfWork, escalation: Escalation, event: str, resource: Mapping[str, Any]
    ) -> None:
        """Announce a comment (`ticket_comment_add`) or a reply, once."""
        if event == "ticket_comment_add":
            await self._announce_comment(work, escalation, resource)
        elif resource.get("direction") == "out":
            await self._announce_reply(work, escalation, resource)

    async def _announce_comment(
        self, work: UnitOfWork, escalation: Escalation, resource: Mapping[str, Any]
    ) -> None:
        if not resource.get("isPublic") or ends_with_any_ref(str(resource.get("content", ""))):
            return
        for comment in await self._desk.comments_of(escalation.zoho_id):
            if comment.id == str(resource.get("id")) and comment.is_public:
                at = comment.commented_time
                if at is not None:
                    change = TicketChange("comment", at)
                    await self._announce_once(work, escalation, change, comment.content)

    async def _announce_reply(
        self, work: UnitOfWork, escalation: Escalation, resource: Mapping[str, Any]
    ) -> None:
        """Announce that there is a reply, without its text: Desk has mailed it to the user."""
        at = parse_time(resource.get("createdTime"))
        if at is not None:
            await self._announce_once(work, escalation, TicketChange("reply", at), None)

    async def _announce_once(
        self, work: UnitOfWork, escalation: Escalation, change: TicketChange, content: str | None
    ) -> None:
        if await self._escalations.was_announced(escalation, change):
            return
        self._escalations.record_announced(work, escalation, change)
        announce_message(work, escalation, change, content)


def parse_time(text: object) -> datetime | None:
    """Return the time with its offset. None when it is no time, or has none."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
