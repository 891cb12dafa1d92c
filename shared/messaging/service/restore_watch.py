"""Notice a database that is older than its own work, and let nobody work on it.

A number of the database, its mark, rises with the work and is kept at the broker too. A database
that was restored has a lower one, or the broker has none any more. Then work stands until an
operator has answered: `zoho-relay recover begin` or `none`.
Why so: docs/decisions/0105-recovery-after-a-restore.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import asyncpg
import structlog
from pydantic import SecretStr

from shared.background import ended, in_step_s
from shared.errors import Postponed, StoppedBeforeStart, Unavailable
from shared.messaging.batcher import Batcher
from shared.messaging.broker.connection import BROKER_ERRORS
from shared.messaging.broker.mark_queue import MarkQueue
from shared.observability.metrics import Metrics
from shared.storage.pool import unavailable_when_down
from shared.storage.recoveries import Mark, Marks, Recoveries

_log = structlog.get_logger(__name__)

_EVERY_S: Final = 1.0
_READ_AGAIN: Final = 6
_READ_AGAIN_S: Final = 0.5
_PUBLISH_S: Final = 1.0
_ADMIT_S: Final = 5.0
_SETTLED_EVERY: Final = 30  # rounds


class DatabaseRestored(Postponed):
    """This database is older than the work. Nothing may be done at Zoho until that is answered."""

    code = "database_restored"

    def __init__(self) -> None:
        super().__init__("the database is older than its work", retry_after_s=_EVERY_S)


def gap_between(inside: Mark | None, outside: int | None) -> str | None:
    """Return why the database may be older than the work. None when it surely is not.

    `inside` is the database's own mark, `outside` the broker's.
    """
    if outside is None:
        if inside is None:
            return None  # both are new
        return "the broker has lost its mark, so nothing shows whether the database is whole"
    if inside is None or inside.mark < outside:
        return "the database is older than the mark at the broker"
    return None


class RestoreWatch:
    """The watch of one worker's schema. One per process. `stop` ends the wait for an answer."""

    def __init__(
        self,
        *,
        service: str,
        schema: str,
        amqp_url: SecretStr,
        pool: asyncpg.Pool,
        metrics: Metrics,
        stop: asyncio.Event | None = None,
    ) -> None:
        self.schema = schema
        self._service = service
        self._pool = pool
        self._marks = Marks(pool, schema)
        self._recoveries = Recoveries(pool)
        self._unpublished = asyncio.Event()
        self._queue = MarkQueue(service, amqp_url, declared=self._unpublished.set)
        self._needed = metrics.recovery_needed.labels(service=service)
        self._publishing: Batcher[int, None] = Batcher("publish mark", self._publish_highest)
        self._stop = stop or asyncio.Event()
        self._stands = False
        self._last = 0
        self._admitted_at: datetime | None = None
        self._worked = 0
        self._rounds = 0

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait until work may begin. Inside, the mark moves with the work.

        Raises, also out of the block:
            DatabaseRestored: the database went back while it was worked on.
            StoppedBeforeStart: `stop` was set while it waited.
        """
        self._needed.set(0)
        async with self._queue.link:
            await self._until_admitted()
            worker = asyncio.current_task()
            watching = asyncio.create_task(self._watch(), name="restore watch")

            def end_work(watched: asyncio.Task[None]) -> None:
                if worker is not None and not watched.cancelled():
                    worker.cancel()

            watching.add_done_callback(end_work)
            try:
                yield
            except asyncio.CancelledError:
                if worker is None or not watching.done() or watching.cancelled():
                    raise
                worker.uncancel()  # it was cancelled here, and because of this
            finally:
                watching.remove_done_callback(end_work)
                await ended(watching)

    async def require_admission(self) -> None:
        """Raise DatabaseRestored while work stands: a check for /readyz."""
        if self._stands:
            raise DatabaseRestored

    def floor(self) -> int:
        """Return a mark that was committed before now. Any that is given out later is higher."""
        return self._last

    async def confirm(self, mark: int | None, floor: int) -> None:
        """Return once the broker has this mark, or is found to be away.

        `mark` was given out by a statement that began when `floor()` was `floor`.
        Raises:
            DatabaseRestored: it did not rise, so the database went back.
        """
        await self._require_rise(mark, floor)
        if mark is not None:
            await self._publishing.run(mark)

    async def _until_admitted(self) -> None:
        reported = False
        while True:
            answer = asyncio.ensure_future(self._admit())
            stopped = asyncio.ensure_future(self._stop.wait())
            await asyncio.wait([answer, stopped], return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            if not answer.done():
                answer.cancel()
                raise StoppedBeforeStart
            try:
                reason = answer.result()
            except (Unavailable, *BROKER_ERRORS) as error:
                _log.warning("the mark cannot be compared", error=type(error).__name__)
            else:
                self._stands = reason is not None
                self._needed.set(self._stands)
                if reason is None:
                    return
                if not reported:
                    _log.critical(
                        "database_restored: work stands until `zoho-relay recover begin` or"
                        " `zoho-relay recover none`",
                        reason=reason,
                    )
                reported = True
            await asyncio.sleep(_EVERY_S)

    async def _admit(self) -> str | None:
        """Compare, and begin to work: None. Otherwise the reason why work stands."""
        await self._queue.link.wait_up()
        with unavailable_when_down():
            async with self._alone(), self._queue.reading() as outside:
                inside = await self._marks.read()
                if outside is None and inside is not None:
                    outside = await self._read_again()
                reason = gap_between(inside, outside)
                if reason is not None:
                    known = inside.recovery if inside else 0
                    await self._recoveries.notice(self._service, reason, answered=known)
                answered = await self._recoveries.last_answered()
                if await self._recoveries.awaits_answer():
                    return reason or "another service has noticed that the database is older"
                self._last, self._admitted_at = await self._marks.set_above(
                    outside or 0, recovery=answered
                )
                async with asyncio.timeout(_ADMIT_S):
                    await self._queue.publish(self._last)
        return None

    async def _read_again(self) -> int | None:
        """A reader that was killed may hold what lies there, until the broker has noticed."""
        for _ in range(_READ_AGAIN):
            await asyncio.sleep(_READ_AGAIN_S)
            async with self._queue.reading() as outside:
                if outside is not None:
                    return outside
        return None

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """One comparison of this schema at a time, among all replicas."""
        async with self._pool.acquire() as connection:
            key = f"mark of {self.schema}"
            await connection.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", key)
            try:
                yield
            finally:
                if not connection.is_closed():
                    await connection.execute(
                        "SELECT pg_advisory_unlock(hashtextextended($1, 0))", key
                    )

    async def _watch(self) -> None:
        while True:
            try:
                with unavailable_when_down():
                    await self._look()
            except Unavailable as error:
                _log.debug("the mark does not move", code=error.code)
            await asyncio.sleep(in_step_s(_EVERY_S))

    async def _look(self) -> None:
        """One round: has the database gone back, has it moved, is a recovery settled?"""
        floor = self._last
        row = await self._pool.fetchrow(
            f"""
            SELECT (SELECT mark FROM relay.marks WHERE schema = $1),
                   (SELECT last_value FROM {self.schema}.claims),
                   EXISTS (SELECT FROM relay.recoveries WHERE state = 'noticed')
            """,  # noqa: S608 - a constant
            self.schema,
        )
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        mark, worked, stands = row
        if stands:
            raise DatabaseRestored
        await self._require_rise(mark, floor - 1)
        if worked != self._worked:
            self._worked, floor = worked, self._last
            mark = await self._marks.move()
            await self._require_rise(mark, floor)
            self._unpublished.set()
        if self._unpublished.is_set():
            self._unpublished.clear()
            await self._publishing.run(max(self._last, mark))
        self._rounds += 1
        if self._rounds % _SETTLED_EVERY == 0 and await self._recoveries.end_settled():
            _log.info("the recovery has ended: all that was looked for is settled")

    async def _require_rise(self, mark: int | None, floor: int) -> None:
        if mark is None or mark <= floor:
            reason = "the database went back while it was worked on"
            await self._recoveries.notice(self._service, reason, admitted_at=self._admitted_at)
            _log.critical("database_restored", reason=reason)
            raise DatabaseRestored
        self._last = max(self._last, mark)

    async def _publish_highest(self, marks: list[int]) -> list[None]:
        try:
            async with asyncio.timeout(_PUBLISH_S):
                await self._queue.publish(max(marks))
        except (Unavailable, TimeoutError):
            # The broker is away, and work goes on without it. The watch publishes later.
            self._unpublished.set()
        return [None] * len(marks)
