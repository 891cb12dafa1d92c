"""Define the settings of Desk's webhooks."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared.environment import Environment, HttpUrl, Words
from shared.settings import DataCenterName
from shared.zoho.products.desk.profile import HOSTS


class DeskWebhookSettings(Environment):
    """The webhooks of one organization, and where the keys are that they are signed with."""

    zoho_desk_org_id: str | None = None
    zoho_desk_webhook_id: Words = ()
    zoho_desk_jwks_url: HttpUrl | None = None
    zoho_data_center: DataCenterName = "us"
    zoho_desk_url: HttpUrl | None = None

    @property
    def desk_keys_url(self) -> str:
        """Return the URL of Desk's keys: on the host of its API, unless it is set otherwise."""
        if self.zoho_desk_jwks_url:
            return self.zoho_desk_jwks_url
        desk = urlsplit(self.zoho_desk_url or f"https://{HOSTS[self.zoho_data_center]}")
        return f"{desk.scheme}://{desk.netloc}/.well-known/jwks.json"
