"""Commits units of work: of all that wait, as one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from uuid import UUID

import asyncpg

from shared.crypto.envelope import DayKey, Vault
from shared.errors import Postponed
from shared.messaging.batcher import Batcher
from shared.messaging.handling.routes import WEBHOOKS
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.inbox import columns
from shared.messaging.outbox.direct_publisher import DirectPublisher
from shared.messaging.outbox.outbox import Outbox, OutboxRow
from shared.messaging.outbox.rows import Versions, rows_of
from shared.storage.open_webhooks import CLOSE_WEBHOOKS
from shared.storage.pool import PooledConnection, unavailable_when_down

_ANEW_S: Final = 0.05
_STALE: Final = ("40001", "ZR001")


class ClaimLost(Exception):
    """Another attempt has the message now, or had: nothing of this one was written.

    `settled`: the message is done or given up already.
    """

    def __init__(self, *, settled: bool) -> None:
        super().__init__("the claim was lost")
        self.settled = settled


class StaleRead(Postponed):
    """What the unit was decided on has changed since it was read: decide anew, at once.

    A change says so by failing with `serialization_failure`, or ZR001; the same unit would always
    fail.
    """

    code = "overtaken"

    def __init__(self) -> None:
        super().__init__("what it was decided on has changed meanwhile", retry_after_s=_ANEW_S)


class Committer:
    """Settled, state, versions and outbox of a unit commit together; units that wait, as a group.

    A group that fails is committed one by one, so that a poisoned unit fails alone.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        schema: str,
        vault: Vault,
        outbox: Outbox,
        outgoing: DirectPublisher,
    ) -> None:
        self._pool = pool
        self._vault = vault
        self._outbox = outbox
        self._outgoing = outgoing
        self._group: Batcher[UnitOfWork, list[OutboxRow] | ClaimLost] = Batcher(
            "commit", self._commit, gather_s=0.002
        )
        self._settle_sql = f"SELECT item FROM {schema}.settle($1, $2, $3, $4, $5, $6)"  # noqa: S608
        self._give_up_sql = f"""
            INSERT INTO {schema}.inbox AS inbox
                (org, routing_key, message_id, source, body_mac, state, code,
                                        arrived, settled_at)
            VALUES ($1, $2, $3, $4, $5, 'given_up', $6, 0, clock_timestamp())
            ON CONFLICT (org, routing_key, message_id) DO UPDATE
            SET state = excluded.state, code = excluded.code, settled_at = excluded.settled_at,
                place = NULL
            WHERE inbox.state = 'waiting' AND inbox.body_mac = excluded.body_mac
            """  # noqa: S608
        self._state_sql = f"""
            SELECT state FROM {schema}.inbox
            WHERE org = $1 AND routing_key = $2 AND message_id = $3
            """  # noqa: S608
        self._versions_sql = f"""
            INSERT INTO {schema}.versions AS v (org, subject, version)
            SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])
            ON CONFLICT (org, subject) DO UPDATE SET version = v.version + excluded.version
            RETURNING org, subject, version
            """  # noqa: S608

    @asynccontextmanager
    async def begin(
        self, org: str, *, correlation_id: str | None = None
    ) -> AsyncIterator[UnitOfWork]:
        """A unit without a delivery (pollers, flushers, the gateway); committed on a clean exit.

        Its messages are published in the background; what fails there is the relay's.
        Raises, on exit:
            Overtaken: nothing was written.
            Unavailable: the database is away. Nothing was written, unless the answer was lost.
        """
        work = UnitOfWork(org=org, correlation_id=correlation_id)
        yield work
        self._outgoing.send_soon(await self.commit(work))

    async def commit(self, work: UnitOfWork) -> list[OutboxRow]:
        """Commit; the rows returned are to be published.

        Raises:
            ClaimLost, Overtaken: nothing was written.
            Unavailable: as `begin`.
        """
        result = await self._group.run(work)
        if isinstance(result, ClaimLost):
            raise result
        return result

    async def _commit(self, group: list[UnitOfWork]) -> list[list[OutboxRow] | ClaimLost]:
        with unavailable_when_down(), _overtaken_when_stale():
            keys = {
                org: await self._vault.key_of(DayKey(org)) for org in {work.org for work in group}
            }
            async with self._pool.acquire() as connection, connection.transaction():
                lost = await self._settle(connection, group)
                winners = [work for at, work in enumerate(group) if at not in lost]
                await _close_webhooks(connection, winners)
                await _run_changes(connection, winners)
                versions = await self._raise_versions(connection, winners)
                rows = {id(work): rows_of(work, versions, keys[work.org]) for work in winners}
                all_rows = [row for work in winners for row in rows[id(work)]]
                keep = self._outgoing.keeps_up
                if all_rows:
                    await self._outbox.insert(connection, all_rows, keep=keep)
        # What is not kept is the relay's already.
        return [lost.get(at) or (rows[id(work)] if keep else []) for at, work in enumerate(group)]

    async def _settle(
        self, connection: PooledConnection, group: list[UnitOfWork]
    ) -> dict[int, ClaimLost]:
        """Mark what was claimed as settled; the positions of those whose claim was lost.

        First, because everything that follows is conditional on it, and because it locks the rows
        that a renewal or another claim would touch.
        """
        claimed = sorted(
            (
                (work.settling, at)
                for at, work in enumerate(group)
                if work.settling is not None and work.settling.claim is not None
            ),
            key=lambda settling_at: settling_at[0].key,
        )
        for work in group:
            if work.settling is not None and work.settling.claim is None:
                s = work.settling
                await connection.execute(self._give_up_sql, *s.key, s.source, s.mac, s.code)
        if not claimed:
            return {}
        won = await connection.fetch(
            self._settle_sql,
            *columns([s.key for s, _ in claimed], 3),
            [s.claim for s, _ in claimed],
            ["given_up" if s.given_up else "done" for s, _ in claimed],
            [s.code for s, _ in claimed],
        )
        lost = set(range(1, len(claimed) + 1)) - {item for (item,) in won}
        return {
            claimed[item - 1][1]: ClaimLost(
                settled=await connection.fetchval(self._state_sql, *claimed[item - 1][0].key)
                in ("done", "given_up")
            )
            for item in lost
        }

    async def _raise_versions(
        self, connection: PooledConnection, winners: list[UnitOfWork]
    ) -> Versions:
        """The version before each subject's first event of this group."""
        counts = Counter((work.org, e.subject) for work in winners for e in work.events)
        if not counts:
            return {}
        ordered = sorted(counts)  # so that replicas lock in the same order
        raised = await connection.fetch(
            self._versions_sql,
            *columns(ordered, 2),
            [counts[subject] for subject in ordered],
        )
        return {(org, subject): version - counts[org, subject] for org, subject, version in raised}


async def _close_webhooks(connection: PooledConnection, winners: Sequence[UnitOfWork]) -> None:
    """From now on, the same body from Zoho means something new."""
    handled = [
        work.delivery.message_id
        for work in winners
        if work.settling is not None
        and work.delivery is not None
        and work.delivery.exchange == WEBHOOKS
    ]
    ids = [found for found in map(_uuid, handled) if found is not None]
    if ids:
        await connection.execute(CLOSE_WEBHOOKS, ids)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:  # not from the gateway
        return None


@contextmanager
def _overtaken_when_stale() -> Iterator[None]:
    try:
        yield
    except asyncpg.PostgresError as error:
        if error.sqlstate not in _STALE:
            raise
        raise StaleRead from error


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
