"""Read the names of Desk's custom fields from the variables that name them for desk-worker."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DeskFieldNames(BaseSettings):
    """Names in the organization. Never reads `.env`. An empty variable means the default."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    escalation_field: str = Field(
        default="cf_app_escalation_id", validation_alias="ZOHO_DESK_ESCALATION_FIELD"
    )
    webhook_id: str = Field(default="20700000000091001", validation_alias="ZOHO_DESK_WEBHOOK_ID")
