"""The custom field of the sandbox's Desk; the same variable that names it for desk-worker."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class DeskFieldNames(BaseSettings):
    """Never reads `.env`; an empty variable means the default."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    escalation_field: str = Field(
        default="cf_app_escalation_id", validation_alias="ZOHO_DESK_ESCALATION_FIELD"
    )
    webhook_id: str = Field(default="20700000000091001", validation_alias="ZOHO_DESK_WEBHOOK_ID")
