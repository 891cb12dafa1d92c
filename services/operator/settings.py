"""Define the settings of the operator's commands. Each reads only what it uses.

With `make up`: `ZOHO_RELAY_ENV_FILE=.run/settings.env zoho-relay …`. A role of its own:
OPERATOR_AMQP_URL, OPERATOR_DATABASE_URL.
"""

from __future__ import annotations

from shared.environment import Environment, HttpUrl, SecretWords, Words, for_service
from shared.settings import Amqp, Crypto, Database, TokenServiceAccess, ZohoCalls, ZohoEndpoints
from shared.zoho.products.billing.settings import BillingAccess, BillingFields
from shared.zoho.products.books.settings import BooksAccess, BooksFields
from shared.zoho.products.crm.settings import CrmAccess, CrmFields
from shared.zoho.products.desk.settings import DeskAccess, DeskOrganization
from shared.zoho.products.finance.settings import ZohoOrganization
from shared.zoho.products.profiles import ALL_SCOPES


class BrokerSettings(Amqp):
    model_config = for_service("operator")


class DatabaseSettings(Database):
    model_config = for_service("operator")


class StorageSettings(Database, Crypto):
    """Hold what is needed to read the database, and to open what is sealed in it."""

    model_config = for_service("operator")


class TokenSettings(TokenServiceAccess):
    """Hold the access to token-service. `zoho_scopes` are the scopes of the OAuth consent."""

    model_config = for_service("operator")

    zoho_scopes: Words = ALL_SCOPES


class ZohoSettings(ZohoEndpoints, ZohoCalls, BillingAccess, BooksAccess, CrmAccess, DeskAccess):
    """Hold what calls to Zoho need. Limits are the workers', because the quota is shared."""

    model_config = for_service("operator")


class FinanceSettings(ZohoOrganization, BillingFields, BooksFields):
    model_config = for_service("operator")


class CrmSettings(CrmFields):
    model_config = for_service("operator")


class DeskSettings(DeskOrganization):
    model_config = for_service("operator")


class MetricsSettings(Environment):
    """Hold where the workers show their metrics."""

    model_config = for_service("operator")

    metrics_urls: Words = ()


class GatewaySettings(Environment):
    """Hold webhook-gateway's secrets, and the `gateway_url` that is registered at Zoho."""

    model_config = for_service("operator")

    gateway_url: HttpUrl | None = None
    zoho_webhook_secret: SecretWords = ()
    zoho_crm_channel_token: SecretWords = ()
    zoho_crm_webhook_secret: SecretWords = ()
    zoho_desk_webhook_id: Words = ()
