"""Note every sealed value, digest and key that is written to the database, and find it again.

Triggers on all tables with binary columns note each value with whose row it was in, however short
a row lives. A deletion can be kept from happening, to show that it would be found out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from deploy.local.stack import Stack

SCHEMAS: Final = ("relay", "billing", "crm", "desk", "gateway")
_HEX: Final = re.compile(r"[0-9a-f]{32,}")

_SET_UP: Final = """
    CREATE SCHEMA noted;
    CREATE TABLE noted.found (place text, owner text, value text);
    CREATE TABLE noted.kept (place text, user_id text, PRIMARY KEY (place, user_id));

    -- TG_ARGV: the binary columns. A row is its user's, by the id, the key or the line.
    CREATE FUNCTION noted.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        written jsonb := to_jsonb(NEW);
        owner text := coalesce(written ->> 'user_id', written ->> 'owner', written ->> 'line', '');
    BEGIN
        INSERT INTO noted.found
        SELECT TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME || '.' || c,
               regexp_replace(owner, '^user:', ''), substring(written ->> c FROM 3)
        FROM unnest(TG_ARGV) AS c WHERE length(written ->> c) >= 34;
        RETURN NULL;
    END $$;

    CREATE FUNCTION noted.is_kept(place text, line text) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER AS $$
        SELECT EXISTS (SELECT FROM noted.kept k
                       WHERE k.place = is_kept.place AND position(k.user_id IN line) > 0)
    $$;
    CREATE FUNCTION noted.keep_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF noted.is_kept(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, to_jsonb(OLD)::text) THEN
            RETURN NULL;
        END IF;
        RETURN OLD;
    END $$;
    CREATE FUNCTION noted.keep_column() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF noted.is_kept(TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, to_jsonb(OLD)::text) THEN
            RETURN jsonb_populate_record(NEW, jsonb_build_object(
                VARIADIC ARRAY(SELECT unnest(ARRAY[c, to_jsonb(OLD) ->> c])
                               FROM unnest(TG_ARGV) AS c)));
        END IF;
        RETURN NEW;
    END $$;

    GRANT USAGE ON SCHEMA noted TO PUBLIC;
"""
# A digest of the department's id: the same for all users.
_OF_NOBODY: Final = {"desk.escalations.department"}
_EMPTIED: Final = {
    "relay.erasure_parts": ("found",),
    "relay.data_keys": ("wrapped", "key_id", "destroyed_at"),
}
_CATCH_UP: Final = """
    DELETE FROM noted.kept;
    DO $$
    DECLARE v_kept record; BEGIN
        FOR v_kept IN SELECT s.name, t.org, t.user_id FROM relay.tombstones t,
                      unnest(ARRAY['billing', 'crm', 'desk']) AS s (name) LOOP
            PERFORM relay.erase_rows(v_kept.name, v_kept.org, v_kept.user_id);
        END LOOP;
    END $$;
    DELETE FROM relay.effects;
    DELETE FROM billing.refunds;
    DELETE FROM billing.decisions;
    DELETE FROM desk.transitions;
    UPDATE relay.erasure_parts SET found = NULL;
    UPDATE relay.data_keys SET wrapped = NULL, key_id = NULL, destroyed_at = now()
    WHERE owner LIKE 'user:%' AND wrapped IS NOT NULL;
"""
_BINARY: Final = """
    SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relkind,
           array_agg(a.attname::text) FILTER (WHERE a.atttypid = 'bytea'::regtype) AS columns
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE n.nspname = ANY ($1::text[]) AND c.relkind IN ('r', 'p')
    GROUP BY 1, 2 ORDER BY 1
"""


@dataclass
class NotedValues:
    """What was written while the context of `noting` was entered. `tables`: all of the system's.

    `columns`: the values by the column they were in, `desk.inbox.body`.
    """

    connection: asyncpg.Connection
    tables: list[str]
    by_owner: dict[str, set[str]] = field(default_factory=dict)
    columns: dict[str, set[str]] = field(default_factory=dict)

    async def keep(self, place: str, user_id: str) -> None:
        """From now on no row of the user is deleted from this table, or emptied in it."""
        await self.connection.execute("INSERT INTO noted.kept VALUES ($1, $2)", place, user_id)

    async def catch_up(self) -> None:
        """Make up for all deletions that were kept from happening, of users who are erased."""
        await self.connection.execute(_CATCH_UP)

    async def read(self) -> None:
        """Read what was noted so far."""
        by_owner, columns = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
        for row in await self.connection.fetch("SELECT DISTINCT * FROM noted.found"):
            by_owner[row["owner"]].add(row["value"])
            columns[row["place"]].add(row["value"])
        self.by_owner, self.columns = dict(by_owner), dict(columns)

    def values_of(self, user_id: str) -> set[str]:
        """What is under the user's key, is the key, or finds the user."""
        return self.by_owner.get(user_id, set())

    def values_in(self, *columns: str) -> set[str]:
        """The values of columns, named with or without their schema."""
        return set().union(
            *(v for name, v in self.columns.items() if name.endswith(tuple(columns)))
        )

    async def rows(self) -> Mapping[str, list[str]]:
        """All rows of all tables as text, by table."""
        return {
            table: [
                row[0]
                for row in await self.connection.fetch(f"SELECT t::text FROM {table} t")  # noqa: S608
            ]
            for table in self.tables
        }

    async def forget(self) -> None:
        # One table at a time: the services are at work on them, and lock several.
        for table in self.tables:
            for trigger in ("zz_note", "aa_keep", "aa_keep_column"):
                await self.connection.execute(f"DROP TRIGGER IF EXISTS {trigger} ON {table}")
        await self.connection.execute("DROP SCHEMA IF EXISTS noted CASCADE")


def places_with(rows: Mapping[str, Iterable[str]], values: set[str]) -> set[str]:
    """The tables in which a row holds one of the values, in whatever column."""
    return {
        table
        for table, texts in rows.items()
        if any(values.intersection(_HEX.findall(text)) for text in texts)
    }


def places_naming(rows: Mapping[str, Iterable[str]], word: str) -> set[str]:
    return {table for table, texts in rows.items() if any(word in text for text in texts)}


@asynccontextmanager
async def noting(stack: Stack) -> AsyncIterator[NotedValues]:
    """Note what is written while the context is entered."""
    connection = await asyncpg.connect(superuser_url(stack))
    try:
        await connection.execute(_SET_UP)
        tables = await connection.fetch(_BINARY, list(SCHEMAS))
        for table in tables:
            name = table["name"]
            columns = ", ".join(
                f"'{column}'"
                for column in table["columns"] or ()
                if f"{name}.{column}" not in _OF_NOBODY
            )
            if columns:
                await connection.execute(
                    f"CREATE TRIGGER zz_note AFTER INSERT OR UPDATE ON {name}"
                    f" FOR EACH ROW EXECUTE FUNCTION noted.note({columns})"
                )
            await connection.execute(
                f"CREATE TRIGGER aa_keep BEFORE DELETE ON {name}"
                " FOR EACH ROW EXECUTE FUNCTION noted.keep_row()"
            )
        for name, emptied in _EMPTIED.items():
            columns = ", ".join(f"'{column}'" for column in emptied)
            await connection.execute(
                f"CREATE TRIGGER aa_keep_column BEFORE UPDATE ON {name}"
                f" FOR EACH ROW WHEN (OLD.{emptied[0]} IS NOT NULL AND NEW.{emptied[0]} IS NULL)"
                f" EXECUTE FUNCTION noted.keep_column({columns})"
            )
        noted = NotedValues(connection, [table["name"] for table in tables])
        yield noted
        await noted.forget()
    finally:
        await connection.close()


def superuser_url(stack: Stack) -> str:
    """The system's database, as the server's own superuser."""
    name = urlsplit(stack.env["DATABASE_URL"]).path
    return urlsplit(stack.env["POSTGRES_URL"])._replace(path=name).geturl()
