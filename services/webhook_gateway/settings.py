"""Define the settings of webhook-gateway."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator

from services.webhook_gateway.connections import ConnectionBounds
from services.webhook_gateway.sources.crm.settings import CrmWebhookSettings
from services.webhook_gateway.sources.desk.settings import DeskWebhookSettings
from services.webhook_gateway.sources.finance.settings import FinanceWebhookSettings
from shared.environment import Count, Port, Words, for_service
from shared.settings import Amqp, Crypto, Database, HttpServer, Observability


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        try:
            ip_network(text)
        except ValueError:
            raise ValueError(
                "must be addresses or networks, comma-separated (10.0.0.7, 10.1.0.0/16)"
            ) from None
    return texts


class Settings(
    Amqp,
    Database,
    Crypto,
    FinanceWebhookSettings,
    CrmWebhookSettings,
    DeskWebhookSettings,
    HttpServer,
    Observability,
):
    """Secrets are lists, so that they can be changed: add the new one, change it at Zoho, drop the
    old one. A product without a secret has its webhooks refused."""

    model_config = for_service("webhook-gateway")

    http_port: Port = 8080
    metrics_port: Port = 9101
    http_connections: Count = 1000
    http_connections_per_address: Count = 100
    # Their connections are those of everybody, so no address is bounded by its own.
    http_trusted_proxies: Annotated[Words, AfterValidator(_networks)] = ()

    @property
    def connection_bounds(self) -> ConnectionBounds:
        return ConnectionBounds(
            total=self.http_connections,
            per_address=self.http_connections_per_address,
            proxies=tuple(ip_network(text) for text in self.http_trusted_proxies),
        )
