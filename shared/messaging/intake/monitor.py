"""Stop intake while too much is open, and know whether it is behind."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import structlog

from shared.background import PeriodicTask
from shared.errors import Unavailable
from shared.messaging.broker.connection import BROKER_ERRORS, ReconnectingConnection
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.inbox.backlog import Backlog, OpenMessages
from shared.observability.metrics import Metrics

_log = structlog.get_logger(__name__)

_EVERY_S: Final = 5.0
_OFF_LINE_FACTOR: Final = 10
_REASONS: Final = ("turn", "time", "fact", "look", "person", "release")


class IntakeMonitor(PeriodicTask):
    """Measures what is open in the inbox, and what the broker's queues still hold.

    What waits for a fact or a person does not count towards the bound of what is open, but has one
    of its own, ten times as high: it may be many, and costs nothing while it waits.
    """

    def __init__(
        self,
        backlog: Backlog,
        link: ReconnectingConnection,
        queues: Sequence[str],
        policy: MessagingPolicy,
        metrics: Metrics,
        service: str,
    ) -> None:
        super().__init__("monitor intake", every_s=_EVERY_S)
        self._backlog = backlog
        self._link = link
        self._queues = queues
        self._policy = policy
        self._metrics = metrics
        self._service = service
        self._room = asyncio.Event()
        self._room.set()
        self._behind: dict[str, int] = dict.fromkeys(queues, 0)
        self._at_higher_bound = False

    async def available(self) -> None:
        """Return once more may be taken."""
        await self._room.wait()

    def is_behind(self) -> bool:
        """Whether what would end a wait may not be accepted yet.

        Not while intake stands at the higher bound: only ends of waits make room there.
        """
        if self._at_higher_bound:
            return False
        return not self._link.is_up or any(self._behind.values()) or not self._room.is_set()

    async def _run_once(self) -> bool:
        with suppress(Unavailable, *BROKER_ERRORS):  # reported by whoever needs them
            await self._measure_inbox()
            if self._link.is_up:
                await self._measure_queues()
        return False

    async def _measure_inbox(self) -> None:
        found = await self._backlog.open_messages()
        in_line = [each for each in found if not each.is_off_line]
        off_line = [each for each in found if each.is_off_line]
        rows, size = self._policy.open_rows, self._policy.open_bytes
        self._at_higher_bound = _exceeds(off_line, rows * _OFF_LINE_FACTOR, size * _OFF_LINE_FACTOR)
        full = self._at_higher_bound or _exceeds(in_line, rows, size)
        if full and self._room.is_set():
            _log.error("intake stops taking: too much is open")
            self._room.clear()
        elif not full and not self._room.is_set():
            _log.info("intake goes on")
            self._room.set()
        self._metrics.intake_stopped.labels(self._service).set(full)
        self._report(found, await self._backlog.dead_letters())

    def _report(self, found: Sequence[OpenMessages], dead: Mapping[tuple[str, str], int]) -> None:
        metrics, service = self._metrics, self._service
        by_reason = {(each.org, each.reason): each for each in found}
        orgs = self._policy.known_orgs
        for org, reason in {*by_reason, *((org, reason) for org in orgs for reason in _REASONS)}:
            each = by_reason.get((org, reason))
            labels = (org, service, reason)
            metrics.messages_waiting.labels(*labels).set(each.rows if each else 0)
            metrics.messages_oldest_age.labels(*labels).set(each.oldest_s if each else 0)
        metrics.dead_letters.clear()
        for (org, code), count in dead.items():
            metrics.dead_letters.labels(org, service, code).set(count)

    async def _measure_queues(self) -> None:
        channel = await self._link.channel(confirms=False)
        try:
            for queue in self._queues:
                declared = await channel.queue_declare(queue, passive=True)
                self._behind[queue] = declared.message_count or 0
                self._metrics.intake_behind.labels(queue).set(self._behind[queue])
        finally:
            await channel.close()


def _exceeds(found: Sequence[OpenMessages], rows: int, size: int) -> bool:
    return sum(each.rows for each in found) >= rows or sum(each.bytes for each in found) >= size
