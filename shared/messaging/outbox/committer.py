"""Commit units of work: all that wait, as one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import asyncpg

from shared.contracts.events import Event, UserErased
from shared.crypto.envelope import DayKey, Vault
from shared.errors import Postponed, Unavailable
from shared.messaging.batcher import Batcher
from shared.messaging.handling.routes import WEBHOOKS
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.dead_letters import DeadLetters
from shared.messaging.inbox.lines import (
    Lines,
    MessageOutcome,
    MessageUpdate,
    RecordedFact,
    RecordedName,
    SettledMessages,
)
from shared.messaging.inbox.statements import columns
from shared.messaging.outbox.direct_publisher import DirectPublisher
from shared.messaging.outbox.outbox import Outbox, OutboxRow
from shared.messaging.outbox.rows import Versions, rows_of, version_subjects
from shared.storage.erased_users import raise_if_erased
from shared.storage.open_webhooks import CLOSE_WEBHOOKS
from shared.storage.pool import PooledConnection, unavailable_when_down

# A change reports by one of these that what it was decided on has changed since.
_STALE: Final = ("40001", "ZR001")
_REPEATS: Final = 5
_ANEW_S: Final = 0.05


class ClaimLost(Exception):
    """Another attempt has the message now, or had: nothing of this one was written."""

    def __init__(self) -> None:
        super().__init__("the claim was lost")


class StaleRead(Postponed):
    """What the unit was decided on has changed since it was read: decide anew, at once.

    A change reports so by failing with `serialization_failure` or ZR001. The same unit would always
    fail.
    """

    code = "overtaken"

    def __init__(self) -> None:
        super().__init__("what it was decided on has changed meanwhile", retry_after_s=_ANEW_S)


class _RepeatCommit(Exception):
    """A claim was lost while the locks were taken: the losers are known the next time."""


class Committer:
    """Commits settlement, state, versions and outbox together, and units that wait as a group.

    A group that fails is committed one by one, so that a poisoned unit fails alone. `left_due` is
    called after a commit because of which some message is due and not leased.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: str,
        vault: Vault,
        outbox: Outbox,
        outgoing: DirectPublisher,
        *,
        left_due: Callable[[], None] = lambda: None,
    ) -> None:
        self._pool = pool
        self._vault = vault
        self._outbox = outbox
        self._outgoing = outgoing
        self._left_due = left_due
        self._lines = Lines(pool, schema)
        self._dead_letters = DeadLetters(pool, schema, vault)
        self._group: Batcher[UnitOfWork, list[OutboxRow] | ClaimLost] = Batcher(
            "commit", self._commit_group, gather_s=0.002
        )
        self._versions_sql = f"SELECT * FROM {schema}.raise_versions($1, $2, $3, $4, $5)"  # noqa: S608

    @asynccontextmanager
    async def begin(
        self, org: str, *, correlation_id: str | None = None
    ) -> AsyncIterator[UnitOfWork]:
        """A unit without a message (pollers, flushers, finders). Committed on a clean exit.

        What it publishes is published in the background. What fails there is the relay's.
        Raises, on exit:
            StaleRead: nothing was written.
            PermanentError: `erased`, it is about a user who asked to be forgotten.
            Unavailable: the database is away. Nothing was written, unless the answer was lost.
        """
        work = UnitOfWork(org=org, correlation_id=correlation_id)
        yield work
        self._outgoing.send_soon(await self.commit(work))

    async def commit(self, work: UnitOfWork) -> list[OutboxRow]:
        """Commit. The rows returned are to be published.

        Raises:
            ClaimLost, StaleRead: nothing was written.
            Unavailable: as `begin`.
        """
        result = await self._group.run(work)
        if isinstance(result, ClaimLost):
            raise result
        return result

    async def rehearse(self, connection: PooledConnection, message: MessageUpdate) -> None:
        """Settle a leased message of nobody, in a transaction that the caller undoes."""
        await self._lines.settle(connection, [message])
        await connection.fetch(self._versions_sql, [""], ["rehearsal"], [1], [], [])
        await self._outbox.insert(connection, [], keep=True)

    async def _commit_group(self, group: list[UnitOfWork]) -> list[list[OutboxRow] | ClaimLost]:
        with unavailable_when_down():
            return await self._commit(group)

    async def _commit(self, group: list[UnitOfWork]) -> list[list[OutboxRow] | ClaimLost]:
        for _ in range(_REPEATS):
            try:
                results = await self._commit_once(group)
            except (asyncpg.DeadlockDetectedError, _RepeatCommit):
                continue  # it was undone as a whole, and spends no attempt
            except asyncpg.PostgresError as error:
                if error.sqlstate in _STALE:
                    raise StaleRead from error
                raise_if_erased(error)
                raise
            return results
        raise Unavailable("transactions go on blocking each other", code="database_unavailable")

    async def _commit_once(self, group: list[UnitOfWork]) -> list[list[OutboxRow] | ClaimLost]:
        keys = {org: await self._vault.key_of(DayKey(org)) for org in {work.org for work in group}}
        async with self._pool.acquire() as connection, connection.transaction():
            settled = await self._settle(connection, group)
            winners = [
                work for work in group if work.claim is None or work.claim.arrived in settled.won
            ]
            letters = [work.dead_letter for work in winners if work.dead_letter is not None]
            if letters:
                await self._dead_letters.insert(connection, letters)
            await _close_webhooks(connection, winners)
            await _run_changes(connection, winners)
            versions = await self._raise_versions(connection, winners)
            rows = {id(work): rows_of(work, versions, keys[work.org]) for work in winners}
            all_rows = [row for work in winners for row in rows[id(work)]]
            keep = self._outgoing.keeps_up
            if all_rows:
                await self._outbox.insert(connection, all_rows, keep=keep)
        if settled.leaves_due:
            self._left_due()
        # What is not kept is the relay's already.
        return [
            ClaimLost() if id(work) not in rows else (rows[id(work)] if keep else [])
            for work in group
        ]

    async def _settle(
        self, connection: PooledConnection, group: list[UnitOfWork]
    ) -> SettledMessages:
        """Settle the messages, first: everything that follows is conditional on it.

        It takes the locks of names, facts, lines and messages, in this order, and wakes who waits
        for what the group records.
        """
        updates = [
            MessageUpdate(*work.claim, work.outcome) for work in group if work.claim is not None
        ]
        facts = [
            RecordedFact(work.org, *fact, arrived=work.arrived)
            for work in group
            for fact in work.facts
        ]
        names = [
            RecordedName(work.org, *name, arrived=work.arrived)
            for work in group
            for name in work.names
        ]
        if not (updates or facts or names):
            return SettledMessages(set(), leaves_due=False)
        try:
            return await self._lines.settle(connection, updates, facts=facts, names=names)
        except asyncpg.SerializationError as error:
            raise _RepeatCommit from error

    async def _raise_versions(
        self, connection: PooledConnection, winners: list[UnitOfWork]
    ) -> Versions:
        """The version before each subject's first event of this group.

        Fails when an event is about a user who asked to be forgotten.
        """
        counts = Counter(
            (work.org, subject)
            for work in winners
            for event in work.events
            for subject in version_subjects(event)
        )
        users = sorted(
            {
                (work.org, user_id)
                for work in winners
                for event in work.events
                if (user_id := _unless_receipt(event.event)) is not None
            }
        )
        if not counts and not users:
            return {}
        ordered = sorted(counts)  # so that replicas lock in the same order
        raised = await connection.fetch(
            self._versions_sql,
            [org for org, _ in ordered],
            [subject for _, subject in ordered],
            [counts[at] for at in ordered],
            *columns(users, 2),
        )
        return {(org, subject): version - counts[org, subject] for org, subject, version in raised}


async def _close_webhooks(connection: PooledConnection, winners: Sequence[UnitOfWork]) -> None:
    """From now on, the same body from Zoho means something new."""
    handled = [
        work.received.message_id
        for work in winners
        if work.claim is not None
        and work.outcome is not MessageOutcome.KEPT
        and work.received is not None
        and work.received.exchange == WEBHOOKS
    ]
    ids = [found for found in map(_uuid, handled) if found is not None]
    if ids:
        await connection.execute(CLOSE_WEBHOOKS, ids)


def _unless_receipt(event: Event) -> str | None:
    """The user whom an event is about. The receipt alone is about a user who is erased."""
    user_id: str | None = getattr(event, "user_id", None)
    return None if isinstance(event, UserErased) else user_id


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:  # not from the gateway
        return None


async def _run_changes(connection: PooledConnection, winners: Sequence[UnitOfWork]) -> None:
    """Run the changes of all units: each unit's in its own order, equal statements together."""
    queues = [list(reversed(work.changes)) for work in winners if work.changes]
    while queues:
        sql = queues[0][-1].sql
        batch = []
        for queue in queues:
            while queue and queue[-1].sql == sql:
                batch.append(queue.pop().args)
        if len(batch) == 1:
            await connection.execute(sql, *batch[0])
        else:
            await connection.executemany(sql, batch)
        queues = [queue for queue in queues if queue]
