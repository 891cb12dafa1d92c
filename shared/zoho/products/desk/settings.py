"""Define the settings of Zoho Desk."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.environment import Count, Environment, HttpUrl

DeskEdition = Literal[
    "free", "express", "standard", "professional", "enterprise", "one", "crm_plus"
]


class DeskAccess(Environment):
    """The address, the edition, and other limits than the edition's (see `ZohoCalls`)."""

    zoho_desk_url: HttpUrl | None = None
    zoho_desk_edition: DeskEdition | None = None
    zoho_desk_agents: Count = 1
    zoho_desk_calls_a_minute: Count | None = None
    zoho_desk_credits_a_day: Count | None = None
    zoho_desk_in_flight: Count | None = None


class DeskOrganization(Environment):
    """The organization, and how its tickets are made."""

    zoho_desk_org_id: Annotated[str, Field(min_length=1)]
    zoho_desk_department_id: Annotated[str, Field(min_length=1)]
    zoho_desk_priority: str = "Medium"
    zoho_desk_status: str = "Open"
    zoho_desk_escalation_field: str | None = None
