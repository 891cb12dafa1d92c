"""Define the settings that Billing and Books share."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from shared.environment import Environment

FinancePlan = Literal["free", "standard", "professional", "premium", "elite", "ultimate"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("is no time zone, such as Europe/Berlin") from error
    return name


class ZohoOrganization(Environment):
    """Billing's organization, and Books' where that is another one.

    Without Books (`zoho_has_books`), Billing alone keeps the books, and the time zone of the
    organization, which only Books says, is `zoho_time_zone`.
    """

    zoho_organization_id: Annotated[str, Field(min_length=1)]
    zoho_books_organization_id: str | None = None
    zoho_has_books: bool = True
    zoho_time_zone: Annotated[str, AfterValidator(_known_zone)] = "UTC"

    @property
    def books_organization_id(self) -> str:
        return self.zoho_books_organization_id or self.zoho_organization_id
