"""Read what staff said to the user: public comments and replies, never private comments.

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
from services.desk_worker.watching.ticket_events import announce_said
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.desk.client import ZohoDesk


class StaffMessages:
    def __init__(self, escalations: Escalations, desk: ZohoDesk) -> None:
        self._escalations = escalations
        self._desk = desk

    async def tell(
        self, work: UnitOfWork, escalation: Escalation, event: str, resource: Mapping[str, Any]
    ) -> None:
        """Tell the user of a comment (`ticket_comment_add`) or a reply, once."""
        if event == "ticket_comment_add":
            await self._tell_comment(work, escalation, resource)
        elif resource.get("direction") == "out":
            await self._tell_reply(work, escalation, resource)

    async def _tell_comment(
        self, work: UnitOfWork, escalation: Escalation, resource: Mapping[str, Any]
    ) -> None:
        if not resource.get("isPublic") or ends_with_any_ref(str(resource.get("content", ""))):
            return
        for comment in await self._desk.comments_of(escalation.zoho_id):
            if comment.id == str(resource.get("id")) and comment.is_public:
                at = comment.commented_time
                if at is not None:
                    happening = TicketChange("comment", at)
                    await self._tell_once(work, escalation, happening, comment.content)

    async def _tell_reply(
        self, work: UnitOfWork, escalation: Escalation, resource: Mapping[str, Any]
    ) -> None:
        """Desk has mailed it to the user already: only that it was."""
        at = _moment(resource.get("createdTime"))
        if at is not None:
            await self._tell_once(work, escalation, TicketChange("reply", at), None)

    async def _tell_once(
        self, work: UnitOfWork, escalation: Escalation, happening: TicketChange, content: str | None
    ) -> None:
        if await self._escalations.was_told(escalation, happening):
            return
        self._escalations.told(work, escalation, happening)
        announce_said(work, escalation, happening, content)


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
