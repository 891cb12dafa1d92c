"""Define the settings that Billing and Books share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.environment import Environment

FinancePlan = Literal["free", "standard", "professional", "premium", "elite", "ultimate"]


class ZohoOrganization(Environment):
    """Billing's organization, and Books' where that is another one."""

    zoho_organization_id: Annotated[str, Field(min_length=1)]
    zoho_books_organization_id: str | None = None

    @property
    def books_organization_id(self) -> str:
        return self.zoho_books_organization_id or self.zoho_organization_id
