"""Replace connections that cannot be used any more, and never wait long for a silent one."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import asyncpg
from asyncpg.pool import PoolAcquireContext

# How long a server may take to acknowledge that a statement was cancelled. asyncpg itself waits for
# as long as a statement may take, and a rollback or the return to the pool waits behind it.
_ACKNOWLEDGED_WITHIN_S: Final = 0.5
_RENEW_EVERY_S: Final = 1.0


class BoundedConnection(asyncpg.Connection):
    """A connection that is closed when its server does not acknowledge a cancelled statement.

    A connection can be silent without being closed: the server is frozen, or the network drops
    everything. The caller's own timeout then cancels the statement. asyncpg has no public hook for
    that, and its types do not show this one.
    """

    def _cancel_current_command(self, *waiters: Any) -> None:
        driver: Any = super()
        driver._cancel_current_command(*waiters)  # noqa: SLF001 - see above
        asyncio.get_running_loop().call_later(_ACKNOWLEDGED_WITHIN_S, self._close_if_silent)

    def _close_if_silent(self) -> None:
        driver: Any = self
        if not self.is_closed() and driver._protocol._is_cancelling():  # noqa: SLF001 - see above
            self.terminate()


class BoundedPool(asyncpg.Pool):
    """A pool that opens new sessions when the present ones turn out to be read-only.

    A session keeps what it began with. The database may be writable again, and so may another host
    of the cluster, while old sessions stay read-only for ever.
    """

    _renewed_at = 0.0

    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:
        return _Acquisition(self, timeout)

    async def renew_sessions(self) -> None:
        # While the database is read-only every statement ends here.
        if time.monotonic() - self._renewed_at > _RENEW_EVERY_S:
            self._renewed_at = time.monotonic()
            await self.expire_connections()


class _Acquisition(PoolAcquireContext):
    pool: BoundedPool

    async def __aexit__(self, *raised: object) -> None:
        if any(isinstance(item, asyncpg.ReadOnlySQLTransactionError) for item in raised):
            await self.pool.renew_sessions()
        await super().__aexit__(*raised)
