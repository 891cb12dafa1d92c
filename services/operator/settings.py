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


class OpeningSettings(Database, Crypto):
    """For opening what is sealed."""

    model_config = for_service("operator")


class TokenSettings(TokenServiceAccess):
    """For asking token-service. `zoho_scopes`: what was asked for at the consent."""

    model_config = for_service("operator")

    zoho_scopes: Words = ALL_SCOPES


class ZohoSettings(ZohoEndpoints, ZohoCalls, BillingAccess, BooksAccess, CrmAccess, DeskAccess):
    """For calls to Zoho under the workers' limits."""

    model_config = for_service("operator")


class FinanceSettings(ZohoOrganization, BillingFields, BooksFields):
    model_config = for_service("operator")


class CrmSettings(CrmFields):
    model_config = for_service("operator")


class DeskSettings(DeskOrganization):
    model_config = for_service("operator")


class GatewaySettings(Environment):
    """The secrets of webhook-gateway. `gateway_url`: as it was registered at Zoho."""

    model_config = for_service("operator")

    gateway_url: HttpUrl | None = None
    zoho_webhook_secret: SecretWords = ()
    zoho_crm_channel_token: SecretWords = ()
    zoho_crm_webhook_secret: SecretWords = ()
    zoho_desk_webhook_id: Words = ()
