"""Compute the current day in the time zone of the organization in Books."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.time_zones import zone_of


@dataclass(frozen=True)
class OrganizationDay:
    """`organization_id` is that of Books. It costs one call, since the time zone may change."""

    books: ZohoBooks
    organization_id: str

    async def today(self) -> date:
        """The current day. UTC's for a time zone that is unknown, which `doctor` reports."""
        organization = await self.books.organization(self.organization_id)
        return datetime.now(zone_of(organization.time_zone) or ZoneInfo("UTC")).date()
