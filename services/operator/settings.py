"""What the operator's commands read; each only what it uses.

With `make up`: `ZOHO_RELAY_ENV_FILE=.run/stack.env zoho-relay …`. A role of its own:
OPERATOR_AMQP_URL, OPERATOR_DATABASE_URL.
"""

from __future__ import annotations

from shared.settings import Amqp, Crypto, Database, for_service


class BrokerSettings(Amqp):
    model_config = for_service("operator")


class DatabaseSettings(Database):
    model_config = for_service("operator")


class OpeningSettings(Database, Crypto):
    """For opening what is sealed."""

    model_config = for_service("operator")
