"""Define the settings of Zoho CRM."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from shared.environment import Count, Environment, HttpUrl, words

CrmEdition = Literal[
    "free", "standard", "starter", "professional", "enterprise", "one", "ultimate", "crm_plus"
]


CrmAutomation = Literal["workflow", "approval", "blueprint", "pathfinder", "orchestration"]


def _automations(value: object) -> object:
    return () if value == "none" else words(value)


class CrmAccess(Environment):
    """The addresses, the edition, and other limits than the edition's (see `ZohoCalls`).

    `zoho_crm_url` is without the version.
    """

    zoho_crm_url: HttpUrl | None = None
    zoho_crm_version: Annotated[str, Field(pattern=r"^v\d+(\.\d+)?$")] = "v8"
    zoho_crm_edition: CrmEdition | None = None
    zoho_crm_users: Count = 1
    zoho_crm_calls_a_minute: Count | None = None
    zoho_crm_credits_a_day: Count | None = None
    zoho_crm_in_flight: Count | None = None


class CrmFields(Environment):
    """The custom fields that carry our id and the tier, and which automations our writes start.

    `zoho_crm_trigger`: those named. None starts all of them, an empty list (`none`) none.
    """

    zoho_crm_user_field: str | None = None
    zoho_crm_tier_field: str | None = None
    zoho_crm_trigger: Annotated[
        tuple[CrmAutomation, ...] | None, NoDecode, BeforeValidator(_automations)
    ] = None
