"""Hold all SQL of the pages that reports have read so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import orjson

from shared.crypto.envelope import DayKey, Vault
from shared.crypto.sealed_columns import SealedColumns
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.storage.retention import Rule

# Replies expire after ten minutes, and with them the sense of what was read for one.
_KEPT_S: Final = 3600.0
_FORGET = "DELETE FROM billing.report_pages WHERE org = $1 AND report = $2"


@dataclass(frozen=True)
class StoredPage:
    number: int
    items: Sequence[dict[str, Any]]
    is_last: bool


class ReportPages:
    def __init__(self, pool: asyncpg.Pool, vault: Vault) -> None:
        self._pool = pool
        self._sealed = SealedColumns(vault, "billing.report_pages")

    async def began_at(self, org: str, report: str) -> datetime:
        """When the first page was read, by PostgreSQL's clock. Now, before that."""
        began: datetime = await self._pool.fetchval(
            """
            SELECT coalesce(min(read_at), now()) FROM billing.report_pages
            WHERE org = $1 AND report = $2
            """,
            org,
            report,
        )
        return began

    async def of(self, org: str, report: str, listing: str) -> list[StoredPage]:
        """The pages of one list, from the first on."""
        rows = await self._pool.fetch(
            """
            SELECT page, items_sealed, is_last FROM billing.report_pages
            WHERE org = $1 AND report = $2 AND list = $3 ORDER BY page
            """,
            org,
            report,
            listing,
        )
        return [
            StoredPage(
                row["page"],
                orjson.loads(
                    await self._sealed.open(
                        org, "items", _row(report, listing, row["page"]), row["items_sealed"]
                    )
                ),
                row["is_last"],
            )
            for row in rows
        ]

    async def add(self, org: str, report: str, listing: str, page: StoredPage) -> None:
        """Store a page at once. Another replica that has stored it meanwhile was first."""
        row = _row(report, listing, page.number)
        text = orjson.dumps(page.items).decode()
        await self._pool.execute(
            """
            INSERT INTO billing.report_pages (org, report, list, page, items_sealed, is_last)
            VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
            """,
            org,
            report,
            listing,
            page.number,
            await self._sealed.seal(DayKey(org), "items", row, text),
            page.is_last,
        )

    def forget(self, work: UnitOfWork, report: str) -> None:
        """Delete the report's pages with the commit of its reply."""
        work.record(_FORGET, work.org, report)


def retention() -> Sequence[Rule]:
    """How long pages of reports that were never answered are kept."""
    return [Rule("billing.report_pages", "read_at < $1", age_s=_KEPT_S)]


def _row(report: str, listing: str, page: int) -> str:
    return f"{report}/{listing}/{page}"
