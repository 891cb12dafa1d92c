"""Define the settings of webhook-gateway."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from shared.environment import HttpUrl, Port, SecretWords, Words, for_service
from shared.settings import Amqp, Crypto, Database, DataCenterName, HttpServer, Observability
from shared.zoho.products.desk.profile import HOSTS


class Settings(Amqp, Database, Crypto, HttpServer, Observability):
    """Secrets are lists, so that they can be changed: add the new one, change it at Zoho, drop the
    old one. A product without a secret has its webhooks refused."""

    model_config = for_service("webhook-gateway")

    http_port: Port = 8080
    metrics_port: Port = 9101
    zoho_webhook_secret: Annotated[SecretWords, Field(min_length=1)]
    zoho_crm_channel_token: SecretWords = ()
    zoho_crm_webhook_secret: SecretWords = ()
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
