"""Open the pool of connections, and recognize the errors of a PostgreSQL that is away."""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import asyncpg
import orjson
from pydantic import SecretStr

from shared.errors import CannotStart, Unavailable
from shared.exponential_backoff import waits_s
from shared.server_urls import driver_url
from shared.storage.bounded_pool import BoundedConnection, BoundedPool
from shared.storage.poolers import shares_sessions

_log = logging.getLogger(__name__)

PooledConnection = asyncpg.pool.PoolConnectionProxy

_ALL_ARRAY_TYPES = """
    SELECT NULL::text[], NULL::bytea[], NULL::bigint[], NULL::integer[], NULL::smallint[],
           NULL::boolean[], NULL::float8[], NULL::uuid[], NULL::timestamptz[], NULL::jsonb[]
    """
_CLOSE_WITHIN_S = 10.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 1.0


@asynccontextmanager
async def connect(
    dsn: SecretStr,
    *,
    size: int = 10,
    application: str = "zoho-relay",
    opened_within_s: float = 60.0,
    command_timeout_s: float = 30.0,
) -> AsyncIterator[asyncpg.Pool]:
    """Open a pool of at most `size` connections, closed on the way out.

    `json` and `jsonb` come and go as Python objects. A connection that a restart of PostgreSQL
    broke is replaced when it is next needed, so the pool lives through one.

    Args:
        opened_within_s: how long to wait for a PostgreSQL that is not up yet.
        command_timeout_s: a statement that takes longer counts as `TimeoutError`.
    Raises:
        Unavailable: `database_unavailable`, PostgreSQL did not answer in time.
        Unavailable: `database_refused`, it answered and refuses this user, or TLS fails.
        CannotStart: `pooler_not_supported`, a pooler changes the session between transactions.
    """
    pool = await _open(
        dsn, size, application, command_timeout_s, time.monotonic() + opened_within_s
    )
    try:
        yield pool
    finally:
        await _close(pool)


@asynccontextmanager
async def planned_anew(pool: asyncpg.Pool) -> AsyncIterator[PooledConnection]:
    """A transaction whose statements are planned for the values that they are given.

    For filters that may be NULL, and for ages that are long or short: a plan for any value reads
    the whole table.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield connection


class _UnavailableWhenDown:
    """Not a generator: it is entered for every message, and costs a fifth so."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and is_down(error):
            raise Unavailable(
                "the database is not available", code="database_unavailable"
            ) from error


def unavailable_when_down() -> _UnavailableWhenDown:
    """Turn the errors of a PostgreSQL that is away, full or failing over into `Unavailable`.

    Use it at the edges (a consumer, an HTTP handler). In between asyncpg's own errors are left.
    """
    return _UnavailableWhenDown()


_NotLetIn = (
    asyncpg.InvalidAuthorizationSpecificationError  # no such user, another password
    | asyncpg.InvalidCatalogNameError  # no such database
)


def is_down(error: BaseException) -> bool:
    """Return whether the same statement may succeed once PostgreSQL is back, or less busy."""
    if isinstance(error, asyncpg.InterfaceError):
        # A connection that broke while it was ours. The rest of this class is misuse: our bug.
        return not isinstance(error, ValueError) and "clos" in str(error)
    return isinstance(
        error,
        OSError  # refused, reset, and TimeoutError
        | asyncpg.PostgresConnectionError
        | asyncpg.OperatorInterventionError  # shutting down, starting up, cancelled
        | asyncpg.InsufficientResourcesError  # too many connections, disk full
        | asyncpg.TransactionRollbackError  # deadlock, serialization: undone as a whole
        | asyncpg.ReadOnlySQLTransactionError  # a standby, in the middle of a fail-over
        | asyncpg.IdleInTransactionSessionTimeoutError  # we stood still, and it was undone
        | asyncpg.ObjectNotInPrerequisiteStateError  # closed to connections for a while
        | _NotLetIn  # what is asked now waits for the person who mends it
        # The server's last words reached an idle connection, the end of the stream not yet.
        | asyncpg.InternalClientError,
    )


async def _open(
    dsn: SecretStr, size: int, application: str, command_timeout_s: float, deadline: float
) -> asyncpg.Pool:
    arguments: dict[str, Any] = {
        "dsn": driver_url(dsn.get_secret_value()),
        "connection_class": BoundedConnection,
        "timeout": 10.0,
        "command_timeout": command_timeout_s,
        # By default each statement is prepared anew after five minutes.
        "max_cached_statement_lifetime": 0,
        "server_settings": {"application_name": application},
    }
    reported = False
    pauses_s = waits_s(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
    while True:
        try:
            with unavailable_when_down():
                if await shares_sessions(lambda: asyncpg.connect(**arguments)):
                    raise CannotStart(
                        "DATABASE_URL leads to a pooler that gives each transaction another session"
                        " (pgbouncer with pool_mode transaction or statement): use pool_mode ="
                        " session, or PostgreSQL itself",
                        code="pooler_not_supported",
                    )
                return await _new_pool(arguments, size)
        except Unavailable as error:
            if reason := _refusal(error.__cause__):
                raise Unavailable(reason, code="database_refused") from error
            if time.monotonic() >= deadline:
                raise
            if not reported:
                _log.warning("waiting for the database")
                reported = True
        await asyncio.sleep(next(pauses_s))


async def _new_pool(arguments: dict[str, Any], size: int) -> asyncpg.Pool:
    # asyncpg's own factory makes no other class of pool. Its defaults are repeated here.
    return await BoundedPool(
        **arguments,
        min_size=1,
        max_size=size,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        init=_prepare,
        reset=_keep,
        loop=None,
        record_class=asyncpg.Record,
    )


def _refusal(error: BaseException | None) -> str | None:
    """Return the reason of an error that a person has to correct, and None for any other."""
    if isinstance(error, _NotLetIn):
        return "PostgreSQL does not know this user, password or database: see DATABASE_URL"
    if isinstance(error, ssl.SSLError):
        return "TLS with PostgreSQL fails: see sslmode and sslrootcert in DATABASE_URL"
    if isinstance(error, asyncpg.ProtocolViolationError) and "parameter" in str(error):
        return "a pooler before PostgreSQL refuses a parameter of DATABASE_URL"
    return None


async def _close(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), _CLOSE_WITHIN_S)
    except TimeoutError:
        _log.warning("connections were still in use, closing them")
        pool.terminate()


async def _prepare(connection: asyncpg.Connection) -> None:
    # Our statements are small: compiling one costs more than running it. Set here and not by a
    # parameter of the connection, because poolers refuse those that they do not know.
    # A process that stands still in mid-transaction must not hold its locks for others.
    # Given the values, PostgreSQL may take a plan for them to be cheaper each time (an array of one
    # is estimated shorter than an array), and then it plans for longer than it runs.
    await connection.execute(
        "SET jit = off; SET plan_cache_mode = force_generic_plan;"
        " SET idle_in_transaction_session_timeout = '5s'"
    )
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=_dump, decoder=orjson.loads, format="text"
        )
    # The driver asks the server about an array's type when it first meets one, in the middle of a
    # message's work, for longer than most statements take. Here it asks about all of them together.
    await connection.fetchrow(_ALL_ARRAY_TYPES)


async def _keep(_connection: object) -> None:
    """Replace asyncpg's RESET, a round trip per use: our statements leave no session state.

    asyncpg itself still rolls back a transaction that was left open.
    """


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()
