"""Define the settings of webhook-gateway."""

from __future__ import annotations

from services.webhook_gateway.sources.crm.settings import CrmWebhookSettings
from services.webhook_gateway.sources.desk.settings import DeskWebhookSettings
from services.webhook_gateway.sources.finance.settings import FinanceWebhookSettings
from shared.environment import Port, for_service
from shared.settings import Amqp, Crypto, Database, HttpServer, Observability


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
