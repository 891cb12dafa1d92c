"""Poll Desk for changed tickets, at a pace that the day's credits allow.

Webhooks are missed, and the smaller editions have none. A change that a webhook reported is
skipped, and one that it missed is counted as a gap. Windows overlap, because Desk's search index
lags.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.desk_worker.repositories.escalations import Escalation, Escalations
from services.desk_worker.repositories.polls import Polls, PollWindow
from services.desk_worker.repositories.users import Users
from services.desk_worker.watching.adoption import Adoption, email_of
from services.desk_worker.watching.changes import TicketChange, customer_replied
from services.desk_worker.watching.ticket_watcher import TicketWatcher
from shared.background import repeat
from shared.errors import IntegrationError, Postponed, ZohoRejected
from shared.messaging.outbox.committer import Committer
from shared.observability.metrics import Metrics
from shared.zoho.call.breakers import BreakerGate
from shared.zoho.products.desk.client import ZohoDesk
from shared.zoho.products.desk.models import Ticket

log = structlog.get_logger(__name__)

# tickets/search reaches no further into one window.
# https://desk.zoho.com/DeskAPIDocument#Search
REACHABLE = 5_000
# One credit each: at a poll every four minutes 720 a day.
_SILENT_ONES = 2
_SILENT_FOR_S = 86_400.0
# Of more changes within a millisecond than can be reached, the rest cannot be asked for.
_NEXT = timedelta(milliseconds=1)


@dataclass(frozen=True)
class PollPacing:
    """Seconds. `lease_s` is longer than reading one window may take."""

    every_s: float = 240.0
    overlap_s: float = 900.0
    lease_s: float = 300.0


class Poller:
    """Reads changed tickets window by window.

    Any number of replicas may run: a lease lets one of them read at a time.
    """

    def __init__(
        self,
        *,
        escalations: Escalations,
        users: Users,
        polls: Polls,
        watcher: TicketWatcher,
        adoption: Adoption,
        committer: Committer,
        desk: ZohoDesk,
        gate: BreakerGate,
        metrics: Metrics,
        pace: PollPacing,
    ) -> None:
        self._escalations = escalations
        self._users = users
        self._polls = polls
        self._watcher = watcher
        self._adoption = adoption
        self._committer = committer
        self._desk = desk
        self._gate = gate
        self._metrics = metrics
        self._pace = pace

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until stopped. A window under way is finished first."""
        # Whatever fails, the window stays unread and is read again.
        await repeat("poll tickets", self._poll_if_open, every_s=self._pace.every_s, stop=stop)

    async def _poll_if_open(self) -> bool:
        if self._gate.is_open() and await self._is_anything_to_watch():
            await self.poll_once()
        return False

    async def _is_anything_to_watch(self) -> bool:
        org = self._desk.org
        return await self._escalations.any_watched(org) or await self._users.any_known(org)

    async def poll_once(self) -> int:
        """Read one window, if one is due. Returns how many changes no webhook had reported.

        A window that fails is read again, so nothing of it is lost.
        """
        org, pace = self._desk.org, self._pace
        window = await self._polls.lease(org, overlap_s=pace.overlap_s, lease_s=pace.lease_s)
        if window is None:
            return 0
        try:
            gaps = await self._read(window)
        except IntegrationError as error:
            wait_s = error.retry_after_s if isinstance(error, Postponed) else pace.every_s
            await self._polls.record_failed(org, window, again_in_s=wait_s)
            log.warning("changes of tickets not read", code=error.code)
            return 0
        except Exception:
            await self._polls.record_failed(org, window, again_in_s=pace.every_s)
            raise
        gaps += await self._look_at_silent_ones()
        # A little early, so that the next round of our own does not find it not yet due.
        await self._polls.record_read(org, window, to=window.last, again_in_s=pace.every_s * 0.9)
        self._metrics.gaps_found.labels("desk", org).inc(gaps)
        return gaps

    async def _read(self, window: PollWindow) -> int:
        """Read the window, and return how many gaps there were.

        One search reaches 5,000 rows. What is beyond is read by further ones, and what was read
        stays read when a later one fails.
        """
        gaps, first = 0, window.first
        while True:
            reached, found = await self._read_part(first, window.last)
            gaps += found
            if reached >= window.last:
                return gaps
            first = max(reached, first + _NEXT)
            await self._polls.record_part(
                self._desk.org, window, to=first, lease_s=self._pace.lease_s
            )

    async def _read_part(self, first: datetime, last: datetime) -> tuple[datetime, int]:
        """Return up to when everything was read, and how many gaps there were."""
        modified = [row async for row in self._desk.tickets_modified(first, last)]
        replied = [row async for row in self._desk.tickets_with_customer_replies(first, last)]
        rows = {row.id: row for row in (*replied, *modified)}
        known = await self._escalations.find_by_tickets(self._desk.org, list(rows))
        gaps = 0
        for row in rows.values():
            try:
                gaps += await self._handle(row, known.get(row.id))
            except ZohoRejected as error:
                self._report_unreadable(known.get(row.id), error)
        reached = [
            modified[-1].modified_time if len(modified) >= REACHABLE else None,
            replied[-1].customer_response_time if len(replied) >= REACHABLE else None,
        ]
        return min([last, *(time for time in reached if time is not None)]), gaps

    async def _look_at_silent_ones(self) -> int:
        """Read a few open tickets that no search has shown for a day.

        Searches leave out what is in the trash or merged away. Returns how many changes there were.
        """
        gaps = 0
        try:
            for escalation in await self._escalations.take_unlooked(
                self._desk.org, limit=_SILENT_ONES, older_than_s=_SILENT_FOR_S
            ):
                gaps += len(await self._check(escalation))
        except IntegrationError as error:
            log.warning("tickets that no search shows are not read", code=error.code)
        return gaps

    async def _handle(self, row: Ticket, escalation: Escalation | None) -> int:
        """Handle one row of a search. Returns how many changes no webhook had reported."""
        if escalation is None:
            await self._adopt(row)
        elif _is_newer(row, escalation):
            return len(await self._check(escalation))
        return 0

    def _report_unreadable(self, escalation: Escalation | None, error: ZohoRejected) -> None:
        """Count a ticket that Desk does not show. The others are read all the same."""
        self._metrics.tickets_unreadable.labels(org=self._desk.org).inc()
        log.warning(
            "a ticket cannot be read",
            escalation_id=escalation and escalation.escalation_id,
            code=error.code,
            reason=error.reason,
        )

    async def _check(self, escalation: Escalation) -> list[TicketChange]:
        async with self._committer.begin(escalation.org) as work:
            return await self._watcher.check(work, escalation, look_back=True)

    async def _adopt(self, row: Ticket) -> None:
        """Adopt a ticket that is not known. One that is being made by us carries our id."""
        async with self._committer.begin(self._desk.org) as work:
            await self._adoption.adopt(work, row.id, email_of(row))


def _is_newer(row: Ticket, escalation: Escalation) -> bool:
    last = escalation.state.modified_at
    if row.modified_time is None or last is None or row.modified_time > last:
        return True
    return customer_replied(escalation.state, row.customer_response_time)
