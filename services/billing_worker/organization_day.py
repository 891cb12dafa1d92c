"""Compute the current day in the time zone of the organization in Books."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from services.billing_worker.ledger.ledger import Ledger
from services.billing_worker.repositories.organizations import Organizations
from shared.zoho.products.books.time_zones import zone_of

# An organization hardly ever changes it, and a call is scarce.
_REMEMBERED: Final = timedelta(days=1)


@dataclass(frozen=True)
class OrganizationDay:
    """`organization_id` is that of Books. The time zone is read once a day, by one replica."""

    ledger: Ledger
    organization_id: str
    organizations: Organizations

    async def today(self) -> date:
        """The current day. UTC's for a time zone that is unknown, which `doctor` reports."""
        return datetime.now(zone_of(await self.time_zone()) or ZoneInfo("UTC")).date()

    async def currency(self) -> str | None:
        """The base currency, which reports of Zoho's are in. Read anew each time."""
        return (await self.ledger.organization(self.organization_id)).currency_code

    async def time_zone(self) -> str | None:
        """Zoho's name of the organization's time zone."""
        org = self.ledger.org
        known = await self.organizations.time_zone(org, not_older_than=_REMEMBERED)
        if known is not None:
            return known[0]
        organization = await self.ledger.organization(self.organization_id)
        await self.organizations.remember_time_zone(org, organization.time_zone)
        return organization.time_zone
