"""Read the names of CRM's custom fields from the variables that name them for the services."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class CrmFieldNames(BaseSettings):
    """API names of the custom fields. Never reads `.env`. An empty variable means the default."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    user_field: str = Field(default="App_User_Id", validation_alias="ZOHO_CRM_USER_FIELD")
    tier_field: str = Field(default="App_Tier", validation_alias="ZOHO_CRM_TIER_FIELD")
