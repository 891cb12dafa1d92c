"""Hold all SQL of contacts: what CRM should have for each user, and how far it is behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

import asyncpg

from services.crm_worker.repositories.contact_fields import (
    ContactField,
    ContactFields,
    StoredFields,
)
from shared.crypto.blind_index import BlindIndex
from shared.crypto.blind_index_table import BlindIndexTable
from shared.crypto.envelope import UserKey, Vault
from shared.crypto.sealed_columns import SealedColumns
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.storage.deadlocks import repeated_after_deadlock
from shared.storage.pool import unavailable_when_down

_WANT_CONTACT = """
    INSERT INTO crm.contacts AS c
        (org, user_id, has_email, wanted_version, changed_by_key, changed_by_id)
    VALUES ($1, $2, $3, 1, $4, $5)
    ON CONFLICT (org, user_id) DO UPDATE
    SET has_email = c.has_email OR excluded.has_email,
        changed_by_key = excluded.changed_by_key,
        changed_by_id = excluded.changed_by_id,
        wanted_version = c.wanted_version + 1,
        wanted_since = CASE WHEN c.sent_version < c.wanted_version
                            THEN c.wanted_since ELSE now() END
"""

# A tier may be announced before the sign-up: the row then waits for its email.
_WANT_TIER = """
    INSERT INTO crm.contacts AS c
        (org, user_id, tier, tier_version, wanted_version, changed_by_key, changed_by_id)
    VALUES ($1, $2, $3, $4, 1, $5, $6)
    ON CONFLICT (org, user_id) DO UPDATE
    SET tier = excluded.tier,
        changed_by_key = excluded.changed_by_key,
        changed_by_id = excluded.changed_by_id,
        tier_version = excluded.tier_version,
        wanted_version = c.wanted_version + (c.tier <> excluded.tier)::int,
        wanted_since = CASE WHEN c.sent_version < c.wanted_version
                            THEN c.wanted_since ELSE now() END
    WHERE excluded.tier_version > c.tier_version
"""


def _lease_sql(condition: str, order: str) -> str:
    return f"""
        WITH due AS (
            SELECT org, user_id FROM crm.contacts
            WHERE org = $1 AND has_email AND leased_until < now() AND {condition}
              AND NOT EXISTS (SELECT FROM relay.tombstones t
                              WHERE t.org = contacts.org AND t.user_id = contacts.user_id)
            ORDER BY {order}
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        UPDATE crm.contacts c
        SET lease = c.lease + 1, leased_until = now() + make_interval(secs => $3)
        FROM due WHERE c.org = due.org AND c.user_id = due.user_id
        RETURNING c.org, c.user_id, c.lease, c.wanted_version, c.sent_version, c.tier, c.sent_tags,
            c.zoho_id_sealed, c.failures, c.retags, c.refused_calls, c.go_by_id,
            c.changed_by_key, c.changed_by_id, c.wanted_since
        """  # noqa: S608 - both texts are this module's own


_LEASE_BEHIND = _lease_sql(
    "sent_version < wanted_version AND refused_version < wanted_version", order="wanted_since"
)
_LEASE_TO_RETAG = _lease_sql("retag_at < now()", order="retag_at")

# Only whoever still holds the lease may say what was sent.
_SENT = """
    UPDATE crm.contacts
    SET sent_version = $4, sent_tags = $5, zoho_id_sealed = $6,
        leased_until = '-infinity', failures = 0, refused_calls = 0,
        retag_at = CASE WHEN $7::float8 IS NOT NULL THEN now() + make_interval(secs => $7) END,
        retags = CASE WHEN $7::float8 IS NOT NULL THEN retags + 1 ELSE 0 END,
        refused_code = NULL, refused_email = NULL,
        go_by_id = go_by_id AND wanted_version > $4,
        wanted_since = CASE WHEN wanted_version > $4 THEN wanted_since ELSE now() END
    WHERE org = $1 AND user_id = $2 AND lease = $3
"""

# Also of a contact that is put off for now: it is still to be sent.
_BEHIND_SINCE = """
    SELECT c.wanted_since FROM crm.contacts c
    WHERE c.org = $1 AND c.has_email AND c.sent_version < c.wanted_version
      AND c.refused_version < c.wanted_version
      AND NOT EXISTS (SELECT FROM relay.tombstones t
                      WHERE t.org = c.org AND t.user_id = c.user_id)
    ORDER BY c.wanted_since LIMIT 1
"""

_HOLD = "SELECT crm.hold_contact($1, $2, $3)"
_HOLD_EMAIL = "SELECT crm.hold_email($1, $2)"

_REFUSED = """
    UPDATE crm.contacts
    SET refused_version = $3, refused_code = $4, refused_email = $5, refused_at = now(),
        failures = 0, refused_calls = 0, retag_at = NULL, leased_until = '-infinity'
    WHERE org = $1 AND user_id = $2
"""

# Several rows are locked in this order by every statement, so that two of them wait for each other
# instead of deadlocking.
_HELD = """
    SELECT c.org, c.user_id FROM crm.contacts c
    JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS leased (org, user_id, lease)
      ON c.org = leased.org AND c.user_id = leased.user_id AND c.lease = leased.lease
    ORDER BY c.org, c.user_id
    FOR UPDATE OF c
"""

_FORGET_TAGS = f"""
    WITH held AS ({_HELD})
    UPDATE crm.contacts c SET sent_tags = NULL
    FROM held WHERE c.org = held.org AND c.user_id = held.user_id
"""  # noqa: S608 - a constant

_GIVE_BACK = f"""
    WITH held AS ({_HELD})
    UPDATE crm.contacts c
    SET leased_until = now() + make_interval(secs => $4), failures = c.failures + 1,
        refused_calls = c.refused_calls + $5::int
    FROM held WHERE c.org = held.org AND c.user_id = held.user_id
      AND c.leased_until > '-infinity'  -- what was sent meanwhile is not leased any more
"""  # noqa: S608 - a constant

# Whatever is under way for it now may have been sent before the contact changed hands.
_REPAIR = """
    UPDATE crm.contacts
    SET go_by_id = true, wanted_version = wanted_version + 1,
        wanted_since = CASE WHEN sent_version < wanted_version THEN wanted_since ELSE now() END
    WHERE org = $1 AND user_id = $2
"""


@dataclass(frozen=True)
class WantedContact:
    """The contact to send for one user, leased to this process.

    `is_behind`: CRM does not have this version, otherwise only tags are missing. `in_crm`: the
    fields of which it is known what CRM has, as it was last sent or read.
    `zoho_id` is None while CRM has no contact of this user. `sent_tags`: of our tags, those that
    CRM has. None when that is unknown. `retags`: how often our tags did not fit beside those of
    staff. `refused_calls`: how many calls with it were refused as a whole. `go_by_id`: CRM's
    contact carries another user's id. `changed_by_key`, `changed_by_id`: of the last message.
    """

    org: str
    user_id: str
    lease: int
    version: int
    is_behind: bool
    fields: Mapping[str, str]
    in_crm: Mapping[str, str]
    tier: str
    sent_tags: frozenset[str] | None
    zoho_id: str | None
    failures: int
    retags: int
    refused_calls: int
    go_by_id: bool
    changed_by_key: str
    changed_by_id: str | None

    @property
    def email(self) -> str:
        return self.fields["email"]


class Contacts:
    def __init__(
        self, pool: asyncpg.Pool, vault: Vault, index: BlindIndex, fields: ContactFields
    ) -> None:
        self._pool = pool
        self._sealed = SealedColumns(vault, "crm.contacts")
        self._fields = fields
        self._index = BlindIndexTable(pool, index, "crm")

    async def is_known(self, org: str, user_id: str) -> bool:
        """Whether this user ever signed up. A tier announced early does not count."""
        known = await self._pool.fetchval(
            "SELECT has_email FROM crm.contacts WHERE org = $1 AND user_id = $2", org, user_id
        )
        return bool(known)

    async def want(
        self, work: UnitOfWork, user_id: str, fields: Mapping[ContactField, str], *, arrived: int
    ) -> None:
        """Record what the contact should say from now on, unless a newer value was recorded."""
        # The contact before its fields, as everywhere: in the opposite order, deadlocks are likely.
        work.record(_WANT_CONTACT, work.org, user_id, "email" in fields, *_changed_by(work))
        await self._fields.want(work, user_id, fields, arrived=arrived)
        if "email" in fields:
            work.record_fact("user", user_id)

    def want_tier(self, work: UnitOfWork, user_id: str, tier: str, *, version: int) -> None:
        """Record the tier of this version. An older version changes nothing."""
        work.record(_WANT_TIER, work.org, user_id, tier, version, *_changed_by(work))

    async def lease(self, org: str, *, limit: int, lease_s: float) -> list[WantedContact]:
        """Lease up to `limit` contacts that CRM is behind on, those longest behind first.

        Nobody else gets them for `lease_s` seconds. Where there is room, contacts come along whose
        tags did not fit and are due to be tried again.
        """
        rows = await self._pool.fetch(_LEASE_BEHIND, org, limit, lease_s)
        rows.sort(key=itemgetter("wanted_since"))
        if len(rows) < limit:
            rows += await self._pool.fetch(_LEASE_TO_RETAG, org, limit - len(rows), lease_s)
        # A statement of its own: the one that leases locks the newest version of a contact but
        # reads its fields as they were when it began, and would send an old value under the new
        # version.
        fields = await self._fields.of(org, [row["user_id"] for row in rows])
        return [await self._wanted(row, fields[row["user_id"]]) for row in rows]

    async def _wanted(self, row: asyncpg.Record, fields: StoredFields) -> WantedContact:
        org, user_id = row["org"], row["user_id"]
        return WantedContact(
            org=org,
            user_id=user_id,
            lease=row["lease"],
            version=row["wanted_version"],
            is_behind=row["sent_version"] < row["wanted_version"],
            fields=fields.wanted,
            in_crm=fields.in_crm,
            tier=row["tier"],
            sent_tags=None if row["sent_tags"] is None else frozenset(row["sent_tags"]),
            zoho_id=await self._sealed.open(org, "zoho_id", user_id, row["zoho_id_sealed"]),
            failures=row["failures"],
            retags=row["retags"],
            refused_calls=row["refused_calls"],
            go_by_id=row["go_by_id"],
            changed_by_key=row["changed_by_key"],
            changed_by_id=row["changed_by_id"],
        )

    async def record_sent(
        self,
        work: UnitOfWork,
        contact: WantedContact,
        zoho_id: str,
        *,
        tags: Sequence[str],
        retag_after_s: float | None = None,
    ) -> None:
        """Record that CRM has what was wanted when the contact was leased.

        `tags`: of ours, those that it has. `retag_after_s`: when to try the others again.
        """
        org, user_id = contact.org, contact.user_id
        sealed = await self._sealed.seal(UserKey(org, user_id), "zoho_id", user_id, zoho_id)
        key = (org, user_id, contact.lease)
        work.record(_SENT, *key, contact.version, sorted(tags), sealed, retag_after_s)
        work.record_fact("contact", user_id)
        if zoho_id != contact.zoho_id:
            self._index.add(work, org, "zoho_contact", zoho_id, user_id, user_id=user_id)

    async def leased_for_s(self, org: str, user_id: str, *, lease_s: float) -> float:
        """For how long a flush that began before the erasure may still write the contact.

        None begins after it. `lease_s` is the longest lease.
        """
        seconds: float | None = await self._pool.fetchval(
            """
            SELECT extract(epoch FROM
                       least(c.leased_until, t.asked_at + make_interval(secs => $3)) - now())
                       ::float8
            FROM crm.contacts c JOIN relay.tombstones t USING (org, user_id)
            WHERE c.org = $1 AND c.user_id = $2 AND c.leased_until > now()
            """,
            org,
            user_id,
            lease_s,
        )
        return max(seconds or 0.0, 0.0)

    async def forget_tags(self, contacts: Sequence[WantedContact]) -> None:
        """Note that it is unknown which tags CRM has, until a whole flush is recorded."""
        await self._execute(_FORGET_TAGS, *_keys(contacts))

    async def forget_zoho_id(self, org: str, user_id: str, zoho_id: str) -> bool:
        """Forget a contact that staff deleted or merged, so that it is found again or made anew.

        False when this user's contact is another one by now.
        """
        row = await self._pool.fetchrow(
            "SELECT zoho_id_sealed FROM crm.contacts WHERE org = $1 AND user_id = $2", org, user_id
        )
        sealed: bytes | None = row["zoho_id_sealed"] if row else None
        if await self._sealed.open(org, "zoho_id", user_id, sealed) != zoho_id:
            return False
        forgotten = await self._execute(
            """
            WITH values AS (
                UPDATE crm.contact_fields SET in_crm_sealed = NULL WHERE org = $1 AND user_id = $2
            )
            UPDATE crm.contacts
            SET zoho_id_sealed = NULL, sent_tags = NULL, retag_at = NULL, go_by_id = false,
                wanted_version = wanted_version + 1, leased_until = '-infinity',
                wanted_since = CASE WHEN sent_version < wanted_version THEN wanted_since
                                    ELSE now() END
            WHERE org = $1 AND user_id = $2 AND zoho_id_sealed = $3
            """,
            org,
            user_id,
            sealed,
        )
        return bool(forgotten == "UPDATE 1")

    async def give_back(
        self, contacts: Sequence[WantedContact], *, after_s: float, call_refused: bool = False
    ) -> None:
        """Release contacts that were not sent: retry them in `after_s` seconds at the earliest.

        `call_refused`: the call was refused as a whole, so each is sent in a call of its own.
        """
        await self._execute(_GIVE_BACK, *_keys(contacts), after_s, int(call_refused))

    def record_refused(
        self, work: UnitOfWork, contact: WantedContact, code: str, email: bytes | None = None
    ) -> None:
        """Leave this version, which is refused for good, until something newer is wanted.

        `email`: blind index of the email that another user has. Once it is free, the contact is
        sent again. `StaleRead`, and nothing committed, when the lease was lost or the email is
        free by now.
        """
        work.record(_HOLD, contact.org, contact.user_id, contact.lease)
        if email is not None:
            work.record(_HOLD_EMAIL, contact.org, email)
        work.record(_REFUSED, contact.org, contact.user_id, contact.version, code, email)

    def repair(self, work: UnitOfWork, user_id: str) -> None:
        """Send this user's whole contact again, by its id: CRM matched it to another user."""
        work.record(_REPAIR, work.org, user_id)
        self._fields.forget_in_crm(work, user_id)

    async def _execute(self, sql: str, *arguments: object) -> str:
        """Run one statement of its own transaction, again at once after a deadlock."""
        return await repeated_after_deadlock(lambda: self._pool.execute(sql, *arguments))

    async def owner_of(self, org: str, zoho_id: str) -> str | None:
        """Return the user whose contact this is. None when it is nobody's we know."""
        owners = await self._index.owners(org, "zoho_contact", zoho_id)
        return owners[0] if owners else None

    async def zoho_id(self, org: str, user_id: str) -> str | None:
        """Return the contact's id in CRM. None while CRM has none."""
        sealed: bytes | None = await self._pool.fetchval(
            "SELECT zoho_id_sealed FROM crm.contacts WHERE org = $1 AND user_id = $2", org, user_id
        )
        return await self._sealed.open(org, "zoho_id", user_id, sealed)

    async def count_refused(self, org: str) -> int:
        """Count the contacts that CRM does not have as they should be, and that are given up."""
        count = await self._pool.fetchval(
            """
            SELECT count(*) FROM crm.contacts
            WHERE org = $1 AND sent_version < refused_version AND refused_version = wanted_version
            """,
            org,
        )
        return int(count)

    async def lag_s(self, org: str) -> float:
        """Return the age in seconds of the oldest change CRM does not have. 0 when it has all."""
        age = await self._pool.fetchval(
            """
            SELECT extract(epoch FROM now() - min(wanted_since))::float8 FROM crm.contacts
            WHERE org = $1 AND has_email AND sent_version < wanted_version
              AND refused_version < wanted_version
            """,
            org,
        )
        return age or 0.0

    async def behind_since(self, org: str) -> datetime | None:
        """Return since when CRM has been behind on a contact that is still to be sent, or None."""
        with unavailable_when_down():
            since: datetime | None = await self._pool.fetchval(_BEHIND_SINCE, org)
        return since


def _keys(contacts: Sequence[WantedContact]) -> tuple[list[str], list[str], list[int]]:
    return (
        [contact.org for contact in contacts],
        [contact.user_id for contact in contacts],
        [contact.lease for contact in contacts],
    )


def _changed_by(work: UnitOfWork) -> tuple[str, str | None]:
    if work.received is None:
        raise ValueError("a contact changes by messages only")
    return work.received.routing_key, work.received.message_id or None
