"""Commits units of work: of all that wait, as one transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.messaging.unit_of_work import UnitOfWork


class Committer:
    """State, events and done of each unit commit together; units that wait commit as one group."""

    async def commit(self, work: UnitOfWork) -> None:
        """Commit, then hand its messages to the publisher.

        Raises:
            Unavailable: the database is away; nothing was written.
        """

    @asynccontextmanager
    async def begin(
        self, org: str, *, correlation_id: str | None = None
    ) -> AsyncIterator[UnitOfWork]:
        """A unit without a delivery (pollers, flushers, the gateway); committed on a clean exit."""
        work = UnitOfWork(org=org, correlation_id=correlation_id)
        yield work
        await self.commit(work)
