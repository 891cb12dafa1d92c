"""Read the sandbox's settings. Every default is made up, and none opens a real Zoho account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ALL_SCOPES = ",".join(
    (
        "ZohoSubscriptions.fullaccess.all",
        "ZohoBooks.fullaccess.all",
        "ZohoCRM.modules.ALL",
        "ZohoCRM.settings.ALL",
        "ZohoCRM.users.ALL",
        "ZohoCRM.org.READ",
        "ZohoCRM.coql.READ",
        "ZohoCRM.notifications.ALL",
        "ZohoCRM.mass_update.ALL",
        "ZohoCRM.bulk.ALL",
        "ZohoFiles.files.ALL",
        "ZohoSearch.securesearch.READ",
        "Desk.tickets.ALL",
        "Desk.contacts.READ",
        "Desk.contacts.CREATE",
        "Desk.contacts.UPDATE",
        "Desk.contacts.WRITE",
        "Desk.search.READ",
        "Desk.basic.READ",
        "Desk.basic.CREATE",
        "Desk.settings.ALL",
        "Desk.events.ALL",
        "Desk.webhooks.ALL",
    )
)


class SandboxSettings(BaseSettings):
    """Settings from `SANDBOX_<NAME>`, one variable for each field. Never reads `.env`."""

    model_config = SettingsConfigDict(env_prefix="SANDBOX_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8090, ge=0, le=65535)
    client_id: str = "1000.SANDBOXCLIENT0000000000000000"
    client_secret: SecretStr = SecretStr("sandbox-client-secret-0000000000000000000")
    refresh_token: SecretStr = SecretStr("1000.sandbox-refresh.0000000000000000000000")
    scopes: str = ALL_SCOPES
    organization_id: str = "10229182"
    books_organization_id: str = ""
    desk_org_id: str = "62983471"
    desk_department_id: str = "204600000000006907"
    time_zone: str = "America/Los_Angeles"
    currency: str = "USD"
    state_file: Path | None = None
    record: Path | None = None  # every request and its answer is appended here, for tests only
    targets: dict[str, Any] = Field(default_factory=dict)  # JSON, as for PUT /_sandbox/targets
    books_invoice_field: str = Field(
        default="cf_app_invoice_id", validation_alias="ZOHO_BOOKS_INVOICE_FIELD"
    )

    @property
    def books_organization(self) -> str:
        """The Books organization, which is usually the same as Billing's."""
        return self.books_organization_id or self.organization_id
