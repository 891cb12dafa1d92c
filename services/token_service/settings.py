"""Define the settings of token-service. It alone reads the client's secret."""

from __future__ import annotations

from pydantic import SecretStr

from shared.environment import KeyRingText, Port, for_service
from shared.settings import Database, HttpServer, Observability, TokenServiceKey, ZohoEndpoints


class Settings(Database, TokenServiceKey, ZohoEndpoints, HttpServer, Observability):
    model_config = for_service("token-service")

    encryption_keys: KeyRingText
    zoho_client_id: str
    zoho_client_secret: SecretStr
    # May be absent: `zoho-relay oauth exchange` stores one.
    zoho_refresh_token: SecretStr | None = None
    http_port: Port = 8081
    metrics_port: Port = 9105
