"""Check the settings, RabbitMQ, PostgreSQL and the key rings, without a call to Zoho."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg

from services.operator.access import broker as rabbitmq
from services.operator.doctor.findings import Findings
from services.operator.repositories.key_use import KeyUse
from services.operator.repositories.schemas import SCHEMAS, migrated, with_inbox
from services.operator.settings import (
    BrokerSettings,
    CrmSettings,
    DeskSettings,
    FinanceSettings,
    GatewaySettings,
    MetricsSettings,
    StorageSettings,
    TokenSettings,
    ZohoSettings,
)
from shared.crypto.data_keys import DataKeys
from shared.crypto.keyring import KeyRing
from shared.environment import Environment, SettingsError
from shared.errors import IntegrationError
from shared.storage import pool as storage
from shared.storage.recoveries import Recoveries
from shared.storage.write_probe import try_write

# How often, and after what time, a queue that seems to have no consumer is read again.
_READS: Final = 5
_BETWEEN_READS_S: Final = 1.0
_REFUSED: Final = (
    "An argument: delete the queue once it is empty, its service declares it anew. A permission:"
    " give it to the user of AMQP_URL (rabbitmqctl set_permissions)."
)
_LOST_AT_FAILOVER: Final = "what was accepted and is not there yet is lost when it takes over."
_S = TypeVar("_S", bound=Environment)


@dataclass(frozen=True)
class DoctorSettings:
    """Hold the settings by the checks that use them.

    A group is None when a variable of it is missing or malformed. What needs it is reported as
    not checked.
    """

    broker: BrokerSettings | None
    storage: StorageSettings | None
    tokens: TokenSettings | None
    zoho: ZohoSettings | None
    finance: FinanceSettings | None
    crm: CrmSettings | None
    desk: DeskSettings | None
    gateway: GatewaySettings | None
    metrics: MetricsSettings | None

    @property
    def organization_ids(self) -> dict[str, str]:
        """The organization of each product that has one configured, by its id at Zoho."""
        ids = {}
        if self.finance:
            ids["billing"] = self.finance.zoho_organization_id
            ids["books"] = self.finance.books_organization_id
        if self.desk:
            ids["desk"] = self.desk.zoho_desk_org_id
        return ids


def read_settings(findings: Findings, gateway: str | None) -> DoctorSettings:
    """Read all groups of settings, and report every variable that is missing or malformed.

    `gateway` is webhook-gateway's public URL, when it was given on the command line.
    """
    problems: list[str] = []

    def load(group: type[_S]) -> _S | None:
        try:
            return group.load()
        except SettingsError as error:
            problems.extend(problem for problem in error.problems if problem not in problems)
            return None

    settings = DoctorSettings(
        load(BrokerSettings),
        load(StorageSettings),
        load(TokenSettings),
        load(ZohoSettings),
        load(FinanceSettings),
        load(CrmSettings),
        load(DeskSettings),
        _with_url(load(GatewaySettings), gateway),
        load(MetricsSettings),
    )
    for problem in problems:
        name, _, what = problem.partition(": ")
        findings.wrong("settings", name, what, f"See {name} in .env.example.")
    if not problems:
        findings.ok("settings", "every variable that is needed is set and well-formed")
    return settings


def _with_url(settings: GatewaySettings | None, url: str | None) -> GatewaySettings | None:
    if settings is None or url is None:
        return settings
    return settings.model_copy(update={"gateway_url": url.rstrip("/")})


async def check_broker(findings: Findings, settings: BrokerSettings | None) -> None:
    """Check that RabbitMQ is up, and that every queue has a consumer."""
    area = "RabbitMQ"
    if settings is None:
        findings.not_checked(area, "connection", "AMQP_URL is not set")
        return
    try:
        async with rabbitmq.connect(settings.amqp_url) as broker:
            findings.ok(area, "connection")
            states = await _queue_states(broker)
            refusals = {state.name: await broker.refusal(state.name) for state in states}
    except IntegrationError as error:
        findings.wrong(area, "connection", error.reason, "Is RabbitMQ up? Compare AMQP_URL.")
        return
    for name, reason in refusals.items():
        if reason is not None:
            findings.wrong(area, name, reason, _REFUSED)
    without_consumer = [state.name for state in states if not state.consumers]
    if not states:
        findings.wrong(area, "queues", "none is declared", "Start the workers.")
    elif without_consumer:
        findings.wrong(
            area,
            "queues",
            f"no consumer takes from {', '.join(without_consumer)}",
            "Is that worker up, and may its user read the queue?",
        )
    else:
        findings.ok(area, "queues", f"{len(states)}, each with a consumer")


async def check_dead_letters(findings: Findings, pool: asyncpg.Pool) -> None:
    """Report how many messages were given up and wait for an operator."""
    given_up = 0
    for schema in (await with_inbox(pool)).values():
        given_up += await pool.fetchval(
            f"SELECT count(*) FROM {schema}.dead_letters WHERE state = 'waiting'"  # noqa: S608 - a constant
        )
    if given_up:
        findings.wrong(
            "PostgreSQL",
            "dead letters",
            f"{given_up} given up",
            "`zoho-relay dead-letters list` says why; docs/operations.md what to do.",
        )
    else:
        findings.ok("PostgreSQL", "dead letters", "none")


async def check_recovery(findings: Findings, pool: asyncpg.Pool) -> None:
    """Report a restore that waits for an answer, or whose search is not over."""
    area, check = "PostgreSQL", "restore"
    latest = await Recoveries(pool).latest()
    if latest is None or latest.state in ("ended", "not_needed"):
        findings.ok(area, check, "none is unanswered")
    elif latest.state == "noticed":
        findings.wrong(
            area,
            check,
            f"work stands: {latest.reason} (noticed by {latest.noticed_by})",
            "`zoho-relay recover begin --since TIME`, or `zoho-relay recover none` if PostgreSQL is"
            " whole: docs/backup-and-recovery.md.",
        )
    else:
        findings.ok(area, check, "is searched for: `zoho-relay recover status`")


async def _queue_states(broker: rabbitmq.Broker) -> list[rabbitmq.QueueState]:
    """Return the state of every queue that exists.

    RabbitMQ reports a new consumer of a quorum queue seconds late, so zero is read again.
    """
    for _ in range(_READS):
        states = [await broker.state(name) for name in rabbitmq.work_queues()]
        existing = [state for state in states if state]
        if all(state.consumers for state in existing):
            break
        await asyncio.sleep(_BETWEEN_READS_S)
    return existing


async def check_database(
    findings: Findings, settings: StorageSettings | None, stack: AsyncExitStack
) -> asyncpg.Pool | None:
    """Check PostgreSQL, and return its pool for later checks. None when it cannot be opened."""
    area = "PostgreSQL"
    if settings is None:
        findings.not_checked(area, "connection", "DATABASE_URL or a key ring is not set")
        return None
    opened = storage.connect(
        settings.database_url, size=4, application="zoho-relay", opened_within_s=5
    )
    try:
        pool = await stack.enter_async_context(opened)
    except (IntegrationError, asyncpg.PostgresError) as error:
        why = error.reason if isinstance(error, IntegrationError) else type(error).__name__
        findings.wrong(area, "connection", why, "Is PostgreSQL up? Compare DATABASE_URL.")
        return None
    findings.ok(area, "connection")
    await _check_writes(findings, pool)
    await check_durability(findings, pool)
    await _check_tables_and_rings(findings, pool, settings)
    return pool


async def _check_writes(findings: Findings, pool: asyncpg.Pool) -> None:
    area = "PostgreSQL"
    try:
        await try_write(pool, "operator")
    except asyncpg.UndefinedTableError:
        findings.not_checked(area, "writes", "it has no tables yet")
    except asyncpg.InsufficientPrivilegeError:
        findings.not_checked(area, "writes", "the role of DATABASE_URL may not write")
    except (asyncpg.PostgresError, OSError) as error:
        findings.wrong(
            area,
            "writes",
            f"it takes none ({type(error).__name__})",
            "Is it read-only, a standby, or its disk full? Until it writes, webhooks are answered"
            " 503 and messages wait.",
        )
    else:
        findings.ok(area, "writes")


async def check_durability(findings: Findings, pool: asyncpg.Pool) -> None:
    """Check that a commit waits for the standby, if there is one: what is accepted is acknowledged.

    RabbitMQ forgets a message once it is committed. A standby that has not got it and takes over
    has lost it.
    """
    area, check = "PostgreSQL", "standby"
    [row] = await pool.fetch(
        """
        SELECT EXISTS (SELECT FROM pg_stat_replication
                       WHERE application_name NOT IN ('pg_basebackup', 'pg_receivewal'))
               OR EXISTS (SELECT FROM pg_replication_slots WHERE slot_type = 'physical') AS has_one,
               current_setting('synchronous_commit') AS commits,
               current_setting('synchronous_standby_names') <> '' AS is_named
        """
    )
    if not row["has_one"]:
        findings.ok(area, check, "none")
    elif row["commits"] in ("off", "local"):
        findings.wrong(
            area,
            check,
            f"a commit does not wait for it (synchronous_commit is {row['commits']})",
            f"Set synchronous_commit to remote_write or more: {_LOST_AT_FAILOVER}",
        )
    elif not row["is_named"]:
        findings.wrong(
            area,
            check,
            "a commit does not wait for it (synchronous_standby_names is empty)",
            f"Name it there: {_LOST_AT_FAILOVER}",
        )
    else:
        findings.ok(area, check, f"a commit waits for it (synchronous_commit {row['commits']})")


async def _check_tables_and_rings(
    findings: Findings, pool: asyncpg.Pool, settings: StorageSettings
) -> None:
    area = "PostgreSQL"
    absent = SCHEMAS.keys() - (await migrated(pool)).keys()
    if absent:
        findings.wrong(
            area,
            "tables",
            f"none of {', '.join(sorted(absent))}",
            "Start these services once: each makes its own tables.",
        )
    else:
        findings.ok(area, "tables", "of every service")
    await check_dead_letters(findings, pool)
    try:
        await check_recovery(findings, pool)
        await _check_rings(findings, pool, settings)
    except asyncpg.UndefinedTableError:
        findings.not_checked("key rings", "ENCRYPTION_KEYS", "nothing is stored yet")
    except asyncpg.InsufficientPrivilegeError:
        findings.not_checked(
            "key rings", "ENCRYPTION_KEYS", "the role of DATABASE_URL may not read the tables"
        )


async def _check_rings(findings: Findings, pool: asyncpg.Pool, settings: StorageSettings) -> None:
    """Check that the key rings hold every key that stored values were sealed or indexed with."""
    area, use = "key rings", KeyUse(pool)
    keys = DataKeys(pool, KeyRing.parse(settings.encryption_keys.get_secret_value()))
    for wrapping in await use.wrapping():
        try:
            await keys.by_id(wrapping.data_key)
        except IntegrationError as error:
            findings.wrong(
                area,
                "ENCRYPTION_KEYS",
                f"{error.reason}; {wrapping.data_keys} data keys cannot be opened",
                f"Put the key called {wrapping.key_id!r} back into the ring. Nothing is lost.",
            )
        else:
            findings.ok(area, "ENCRYPTION_KEYS", f"{wrapping.key_id!r} opens what it sealed")
    ring = KeyRing.parse(settings.index_keys.get_secret_value())
    if missing := sorted(await use.indexing() - {key.id for key in ring}):
        findings.wrong(
            area,
            "INDEX_KEYS",
            f"no key called {', '.join(map(repr, missing))}, which the blind indexes use",
            "Put it back into the ring: without it, known users are taken for new ones.",
        )
    else:
        findings.ok(area, "INDEX_KEYS", "every key in use is there")
