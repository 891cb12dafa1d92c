"""Store a ticket's comments (private unless `isPublic`) and its threads of mail."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

from services.zoho_sandbox.desk.bodies import COMMENT, check
from services.zoho_sandbox.desk.contacts import DeskListener
from services.zoho_sandbox.desk.errors import invalid_data, not_found
from services.zoho_sandbox.desk.history import TicketHistory
from services.zoho_sandbox.server.tables import Record, Table

_COMMENTER = ("id", "firstName", "lastName", "name", "email", "photoURL", "roleName", "type")


class Conversations:
    """The tables of comments and threads. Each row names its ticket by `ticketId`."""

    def __init__(
        self,
        comments: Table,
        threads: Table,
        attachments: Table,
        tickets: Table,
        history: TicketHistory,
        *,
        time: Callable[[], str],
        on_change: DeskListener,
        move_modified_time: Callable[[], bool],
    ) -> None:
        self.comments = comments
        self.threads = threads
        self.attachments = attachments
        self._tickets = tickets
        self._history = history
        self._time = time
        self._on_change = on_change
        self._move_modified_time = move_modified_time

    def comment(self, ticket: Record, body: Any, *, actor: Record) -> Record:
        """Add a comment, private without `isPublic`. Posting it twice adds two comments."""
        fields = check(body, COMMENT, required=("content",))
        content_type = fields.get("contentType") or "html"
        row = self.comments.add(
            {
                "ticketId": ticket["id"],
                "content": fields["content"],
                "plainText": _plain(fields["content"])
                if content_type == "html"
                else fields["content"],
                "contentType": content_type,
                "isPublic": bool(fields.get("isPublic")),
                "commentedTime": self._time(),
                "modifiedTime": None,
                "attachments": [],
                "commenterId": actor["id"],
                "commenter": {key: actor.get(key) for key in _COMMENTER},
                "encodedContent": None,
                "impersonatedUser": None,
            }
        )
        self._count(ticket, "commentCount", self.comments)
        self._history.add(ticket, "CommentAdded", actor, [])
        self._on_change("Ticket_Comment_Add", row, None)
        return row

    def open(self, ticket: Record, *, author: Record) -> None:
        """Make the description of a new ticket its first thread, as real Desk does."""
        if not ticket["description"]:
            return
        self._add_thread(ticket, ticket["description"], author=author, direction="in")
        ticket["threadCount"] = "1"
        self._tickets.save(ticket)

    def reply(self, ticket: Record, content: str, *, author: Record, direction: str) -> Record:
        """Add a mail from the customer (`in`) or from an agent (`out`)."""
        row = self._add_thread(ticket, content, author=author, direction=direction)
        if direction == "in":
            ticket["customerResponseTime"] = row["createdTime"]
        self._count(ticket, "threadCount", self.threads)
        self._history.add(ticket, "ThreadAdded", author, [])
        self._on_change("Ticket_Thread_Add", summary(row), None)
        return row

    def _add_thread(
        self, ticket: Record, content: str, *, author: Record, direction: str
    ) -> Record:
        return self.threads.add(
            {
                "ticketId": ticket["id"],
                "channel": "EMAIL",
                "direction": direction,
                "status": "SUCCESS",
                "summary": content[:100],
                "content": content,
                "contentType": "text/html",
                "createdTime": self._time(),
                "visibility": "public",
                "canReply": True,
                "hasAttach": False,
                "attachmentCount": "0",
                "author": {key: author.get(key) for key in ("name", "email", "type")},
                "fromEmailAddress": author.get("email"),
            }
        )

    def attach(self, ticket: Record, name: str, *, actor: Record) -> Record:
        """Attach a file to a ticket."""
        row = self.attachments.add(
            {
                "ticketId": ticket["id"],
                "name": name,
                "size": "1024",
                "isPublic": False,
                "creatorId": actor["id"],
                "createdTime": self._time(),
                "previewurl": None,
            }
        )
        row["href"] = (
            f"https://desk.zoho.com/api/v1/tickets/{ticket['id']}/attachments/{row['id']}/content"
        )
        self.attachments.save(row)
        self._count(ticket, "attachmentCount", self.attachments)
        return row

    def attachments_of(self, ticket_id: str) -> list[Record]:
        """Return a ticket's files, oldest first."""
        return [row for row in self.attachments if row["ticketId"] == ticket_id]

    def get_attachment(self, ticket_id: str, attachment_id: str) -> Record:
        """Return a file of the ticket. Raises: DeskError: 404, there is none with this id."""
        row = self.attachments.get(attachment_id)
        if row is None or row["ticketId"] != ticket_id:
            raise not_found()
        return row

    def comments_of(self, ticket_id: str) -> list[Record]:
        """Return a ticket's comments, oldest first."""
        return [row for row in self.comments if row["ticketId"] == ticket_id]

    def threads_of(self, ticket_id: str) -> list[Record]:
        """Return a ticket's threads, newest first."""
        return [row for row in self.threads if row["ticketId"] == ticket_id][::-1]

    def get_comment(self, ticket_id: str, comment_id: str) -> Record:
        """Return a comment of the ticket. Raises: DeskError: 404, there is none with this id."""
        row = self.comments.get(comment_id)
        if row is None or row["ticketId"] != ticket_id:
            raise not_found()
        return row

    def change_comment(self, ticket_id: str, comment_id: str, body: Any) -> Record:
        """Change a comment's text. Raises: DeskError: 422, `isPublic` cannot change."""
        row = self.get_comment(ticket_id, comment_id)
        fields = check(body, COMMENT)
        if fields.get("isPublic") not in (None, row["isPublic"]):
            raise invalid_data(("isPublic", "invalid"))
        row.update(content=fields.get("content") or row["content"], modifiedTime=self._time())
        row["plainText"] = _plain(row["content"])
        return self.comments.save(row)

    def _count(self, ticket: Record, field: str, table: Table) -> None:
        mine = sum(row["ticketId"] == ticket["id"] for row in table)
        ticket[field] = str(mine)
        if self._move_modified_time():
            ticket["modifiedTime"] = self._time()
        self._tickets.save(ticket)


def as_answered(comment: Record) -> Record:
    """Return a comment as the calls that write one answer it."""
    return {key: value for key, value in comment.items() if key not in ("ticketId", "plainText")}


def summary(thread: Record) -> Record:
    """Return a thread as lists and webhooks show it, without its text."""
    return {key: value for key, value in thread.items() if key != "content"}


def _plain(content: str) -> str:
    text = re.sub(r"<br\s*/?>|</(?:div|p)>", "\n", content)
    return html.unescape(re.sub(r"<[^>]+>", "", text)).strip()
