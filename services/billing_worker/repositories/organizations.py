"""Hold all SQL of what is remembered of an organization at Zoho."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from shared.zoho.products.finance.custom_fields import CustomFieldForm


class Organizations:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def time_zone(self, org: str, *, not_older_than: timedelta) -> tuple[str | None] | None:
        """Zoho's name of the time zone, in a tuple of one. None when it has to be read again."""
        row = await self._pool.fetchrow(
            """
            SELECT time_zone FROM billing.organizations
            WHERE org = $1 AND time_zone_read_at > now() - $2::interval
            """,
            org,
            not_older_than,
        )
        return (row["time_zone"],) if row else None

    async def remember_time_zone(self, org: str, time_zone: str | None) -> None:
        await self._pool.execute(
            """
            INSERT INTO billing.organizations (org, time_zone, time_zone_read_at)
            VALUES ($1, $2, now())
            ON CONFLICT (org) DO UPDATE
            SET time_zone = excluded.time_zone, time_zone_read_at = now()
            """,
            org,
            time_zone,
        )

    async def customer_field_form(self, org: str) -> CustomFieldForm | None:
        """How Billing takes custom fields of customers. None while the usual form was stored."""
        form: CustomFieldForm | None = await self._pool.fetchval(
            "SELECT customer_field_form FROM billing.organizations WHERE org = $1", org
        )
        return form

    async def remember_customer_field_form(self, org: str, form: CustomFieldForm) -> None:
        await self._pool.execute(
            """
            INSERT INTO billing.organizations (org, customer_field_form) VALUES ($1, $2)
            ON CONFLICT (org) DO UPDATE SET customer_field_form = excluded.customer_field_form
            """,
            org,
            form,
        )
