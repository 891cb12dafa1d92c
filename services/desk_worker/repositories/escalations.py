"""Hold all SQL of escalations: whose ticket is which, and the state that Desk last reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import asyncpg

from services.desk_worker.watching.changes import TicketChange, TicketState
from shared.contracts.commands import SupportEscalated
from shared.contracts.fingerprint import fingerprint
from shared.crypto.blind_index import BlindIndex
from shared.crypto.blind_index_table import BlindIndexTable
from shared.crypto.envelope import DayKey, UserKey, Vault
from shared.crypto.opaque_ids import opaque_id
from shared.crypto.sealed_columns import SealedColumns
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.erased_users import refused_when_erased

_COLUMNS = """
    org, escalation_id, user_id, origin, email_sealed, subject_sealed, zoho_id_sealed, version,
    status, kind, priority, department, modified_at, customer_replied_at, gone, request_mac,
    created_at
"""

_ADD = """
    INSERT INTO desk.escalations
        (org, escalation_id, user_id, origin, email_sealed, subject_sealed, zoho_id_sealed,
         request_mac, status, kind, priority, department, modified_at, customer_replied_at, gone)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""

_ADVANCE = "SELECT desk.advance($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"

# No ON CONFLICT: a transition that is there was announced, and must not be announced again.
_TRANSITION = """
    INSERT INTO desk.transitions (org, escalation_id, kind, at) VALUES ($1, $2, $3, $4)
"""


_GIVE_TO = """
    WITH theirs AS (
        UPDATE desk.blind_index SET user_id = $2
        WHERE org = $1 AND kind = 'ticket' AND index = ANY ($3::bytea[]) AND user_id IS NULL
        RETURNING row
    )
    UPDATE desk.escalations SET user_id = $2
    WHERE org = $1 AND user_id IS NULL AND escalation_id IN (SELECT row FROM theirs)
"""


@dataclass(frozen=True)
class Escalation:
    """A ticket that we watch. `zoho_id` never leaves. `email` is our user's own.

    `request_mac`: of the command that opened it. None when staff or the user opened it.
    """

    org: str
    escalation_id: str
    user_id: str | None
    origin: Literal["application", "zoho"]
    email: str
    subject: str | None
    zoho_id: str
    state: TicketState
    request_mac: bytes | None = None
    version: int = 0
    watched_since: datetime | None = None

    def __repr__(self) -> str:
        return f"<Escalation {self.escalation_id}>"

    @property
    def owner(self) -> UserKey | DayKey:
        return owner_of(self.org, self.user_id)


class Escalations:
    def __init__(self, pool: asyncpg.Pool, vault: Vault, index: BlindIndex) -> None:
        self._pool = pool
        self._index = index
        self._sealed = SealedColumns(vault, "desk.escalations")
        self._rows = BlindIndexTable(pool, index, "desk")

    async def find(self, org: str, escalation_id: str) -> Escalation | None:
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM desk.escalations WHERE org = $1 AND escalation_id = $2",  # noqa: S608
            org,
            escalation_id,
        )
        return await self._escalation(row) if row else None

    async def find_by_ticket(self, org: str, zoho_id: str) -> Escalation | None:
        """Return the escalation of a ticket of Zoho's. None when we do not watch it."""
        return (await self.find_by_tickets(org, [zoho_id])).get(zoho_id)

    async def find_by_tickets(self, org: str, zoho_ids: Sequence[str]) -> Mapping[str, Escalation]:
        """Return those of these tickets that we watch, by Zoho's id."""
        rows = await self._pool.fetch(
            f"""
            SELECT DISTINCT {_COLUMNS} FROM desk.escalations e
            JOIN (SELECT row FROM desk.blind_index
                  WHERE org = $1 AND kind = 'ticket' AND index = ANY($2)) i
              ON i.row = e.escalation_id
            WHERE e.org = $1 AND NOT EXISTS (
                SELECT FROM relay.tombstones t WHERE t.org = e.org AND t.user_id = e.user_id)
            """,  # noqa: S608
            org,
            self._rows.digests(org, "ticket", zoho_ids),
        )
        escalations = [await self._escalation(row) for row in rows]
        return {escalation.zoho_id: escalation for escalation in escalations}

    async def of_user(self, org: str, user_id: str) -> list[Escalation]:
        """Return all tickets of a user, whether or not the user asked to be forgotten."""
        rows = await self._pool.fetch(
            f"SELECT {_COLUMNS} FROM desk.escalations"  # noqa: S608 - a constant
            " WHERE org = $1 AND user_id = $2 ORDER BY created_at, escalation_id",
            org,
            user_id,
        )
        return [await self._escalation(row) for row in rows]

    async def ids_of_user(self, org: str, user_id: str) -> list[str]:
        rows = await self._pool.fetch(
            """
            SELECT escalation_id FROM desk.escalations
            WHERE org = $1 AND user_id = $2 ORDER BY escalation_id
            """,
            org,
            user_id,
        )
        return [row["escalation_id"] for row in rows]

    async def others_with_email(self, org: str, email: str, user_id: str) -> list[str]:
        """Return the other users who signed up with this email, or escalated under it."""
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT row FROM desk.blind_index b
            WHERE org = $1 AND kind IN ('email', 'user email') AND index = ANY ($2::bytea[])
              AND row <> $3
              AND NOT EXISTS (SELECT FROM relay.tombstones t
                              WHERE t.org = b.org AND t.user_id = b.user_id)
            """,
            org,
            self._rows.digests(org, "email", [email]),
            user_id,
        )
        return [row["row"] for row in rows]

    async def know_email(self, org: str, user_id: str, email: str) -> None:
        """Record at once that the user escalates under this email.

        Raises:
            PermanentError: `erased`.
        """
        rows = self._rows.rows(org, "email", email, user_id, user_id=user_id)
        async with self._pool.acquire() as connection, connection.transaction():
            with refused_when_erased():
                await self._rows.insert(connection, rows)

    async def has_email(self, org: str, user_id: str, email: str) -> bool:
        """Whether the user signed up with this email, or escalated under it."""
        has = await self._pool.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM desk.blind_index
                WHERE org = $1 AND kind IN ('email', 'user email') AND index = ANY ($2::bytea[])
                  AND row = $3)
            """,
            org,
            self._rows.digests(org, "email", [email]),
            user_id,
        )
        return bool(has)

    async def give_to(self, org: str, user_id: str, zoho_ids: Sequence[str]) -> None:
        """Let escalations that named no user be this one's, by Zoho's ids of their tickets.

        They are the tickets of the user's own contact. The erasure then deletes them too.
        """
        digests = self._rows.digests(org, "ticket", zoho_ids)
        await repeated_after_deadlock(lambda: self._pool.execute(_GIVE_TO, org, user_id, digests))

    async def any_watched(self, org: str) -> bool:
        """Whether there is any ticket that could still change."""
        return bool(
            await self._pool.fetchval(
                "SELECT EXISTS (SELECT FROM desk.escalations WHERE org = $1 AND NOT gone)", org
            )
        )

    async def take_unlooked(self, org: str, *, limit: int, older_than_s: float) -> list[Escalation]:
        """Return open tickets that polling has not looked at for so long, and note that it does.

        Not those of users who asked to be forgotten: nothing can be announced of them.
        """
        rows = await self._pool.fetch(
            f"""
            WITH due AS (
                SELECT org, escalation_id FROM desk.escalations
                WHERE org = $1 AND NOT gone AND kind <> 'closed'
                  AND NOT EXISTS (SELECT FROM relay.tombstones t
                                  WHERE t.org = escalations.org AND t.user_id = escalations.user_id)
                  AND looked_at < clock_timestamp() - make_interval(secs => $3)
                ORDER BY looked_at LIMIT $2
                FOR UPDATE SKIP LOCKED
            ), taken AS (
                UPDATE desk.escalations e SET looked_at = clock_timestamp()
                FROM due WHERE e.org = due.org AND e.escalation_id = due.escalation_id
                RETURNING e.*
            )
            SELECT {_COLUMNS} FROM taken
            """,  # noqa: S608
            org,
            limit,
            older_than_s,
        )
        return [await self._escalation(row) for row in rows]

    async def announced_closings(self, escalation: Escalation) -> list[datetime]:
        rows = await self._pool.fetch(
            """
            SELECT at FROM desk.transitions
            WHERE org = $1 AND escalation_id = $2 AND kind = 'closed'
            """,
            escalation.org,
            escalation.escalation_id,
        )
        return [row["at"] for row in rows]

    async def was_announced(self, escalation: Escalation, change: TicketChange) -> bool:
        """Whether exactly this change was announced before."""
        announced = await self._pool.fetchval(
            """
            SELECT EXISTS (SELECT FROM desk.transitions
                           WHERE org = $1 AND escalation_id = $2 AND kind = $3 AND at = $4)
            """,
            escalation.org,
            escalation.escalation_id,
            change.kind,
            change.at,
        )
        return bool(announced)

    async def closed_statuses(self, org: str) -> set[str]:
        """Return the statuses known to mean closed, in lower case: histories have no types."""
        rows = await self._pool.fetch(
            "SELECT DISTINCT status FROM desk.escalations WHERE org = $1 AND kind = 'closed'", org
        )
        return {"closed", *(row["status"].casefold() for row in rows)}

    async def add(self, work: UnitOfWork, escalation: Escalation) -> None:
        """Watch this ticket from now on."""
        org, row_id, owner = escalation.org, escalation.escalation_id, escalation.owner
        seal, subject = self._sealed.seal, escalation.subject
        work.record(
            _ADD,
            org,
            row_id,
            escalation.user_id,
            escalation.origin,
            await seal(owner, "email", row_id, escalation.email),
            subject and await seal(owner, "subject", row_id, subject),
            await seal(owner, "zoho_id", row_id, escalation.zoho_id),
            escalation.request_mac,
            *_columns(escalation.state),
        )
        user_id = escalation.user_id
        self._rows.add(work, org, "ticket", escalation.zoho_id, row_id, user_id=user_id)
        if user_id is not None:
            self._rows.add(work, org, "email", escalation.email, user_id, user_id=user_id)
            work.record_name("escalation", row_id, user_id)
        work.record_fact("escalation", row_id)

    def advance(self, work: UnitOfWork, escalation: Escalation, state: TicketState) -> None:
        """Record the state that was read. The commit fails when another reader was first."""
        key = (escalation.org, escalation.escalation_id, escalation.version)
        work.record(_ADVANCE, *key, *_columns(state))

    def record_announced(
        self, work: UnitOfWork, escalation: Escalation, change: TicketChange
    ) -> None:
        """Record that a change is announced. The commit fails when it was announced before."""
        key = (escalation.org, escalation.escalation_id, change.kind, change.at)
        work.record(_TRANSITION, *key)

    def request_mac(self, message: SupportEscalated) -> bytes:
        """Return what distinguishes this escalation from another one under the same id."""
        return self._index.mac("escalation", fingerprint(message).encode())

    def is_same_request(self, escalation: Escalation, message: SupportEscalated) -> bool:
        """Whether this very command opened the escalation's ticket."""
        macs = self._index.macs("escalation", fingerprint(message).encode())
        return escalation.request_mac in macs

    def id_of(self, org: str, zoho_id: str) -> str:
        """Return our id for a ticket that the application did not name, equal in every replica."""
        return opaque_id(self._index, org, "tkt", zoho_id)

    def department(self, zoho_id: str | None) -> bytes | None:
        """Return a digest that distinguishes departments without holding an id."""
        return self._index.mac("department", zoho_id.encode()) if zoho_id else None

    async def _escalation(self, row: asyncpg.Record) -> Escalation:
        org, row_id = row["org"], row["escalation_id"]
        return Escalation(
            org=org,
            escalation_id=row_id,
            user_id=row["user_id"],
            origin=row["origin"],
            email=await self._sealed.open(org, "email", row_id, row["email_sealed"]),
            subject=await self._sealed.open(org, "subject", row_id, row["subject_sealed"]),
            zoho_id=await self._sealed.open(org, "zoho_id", row_id, row["zoho_id_sealed"]),
            version=row["version"],
            request_mac=row["request_mac"],
            watched_since=row["created_at"],
            state=TicketState(
                status=row["status"],
                status_type=row["kind"],
                priority=row["priority"],
                department=row["department"],
                modified_at=row["modified_at"],
                customer_replied_at=row["customer_replied_at"],
                gone=row["gone"],
            ),
        )


def owner_of(org: str, user_id: str | None) -> UserKey | DayKey:
    """Return the owner of the key that seals an escalation: its user, where it names one."""
    return UserKey(org, user_id) if user_id is not None else DayKey(org)


def _columns(state: TicketState) -> tuple[object, ...]:
    return (
        state.status,
        state.status_type,
        state.priority,
        state.department,
        state.modified_at,
        state.customer_replied_at,
        state.gone,
    )
