"""What a service reads from its environment, once, in groups that a service picks from.

    class Settings(Amqp, Database, Crypto, Consumer, Observability):
        model_config = for_service("billing-worker")
        metrics_port: Port = 9102

    settings = Settings.load()

Every variable is named as its field, in capitals. `<SERVICE>_<VARIABLE>` (such as
`BILLING_WORKER_AMQP_URL`) wins over `<VARIABLE>`, so that each service may have a role of its own.
An empty value counts as not set. `.env` is read too, unless ZOHO_RELAY_ENV_FILE names another file
or, being empty, none.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasGenerator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

ENV_FILE_VARIABLE = "ZOHO_RELAY_ENV_FILE"


class SettingsError(Exception):
    """The environment is not complete or not right; one line per problem, values never shown."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _variables(service: str, field: str) -> AliasChoices:
    name = field.upper()
    own = f"{service.upper().replace('-', '_')}_{name}"
    return AliasChoices(own, name) if service else AliasChoices(name)


def for_service(service: str) -> SettingsConfigDict:
    """The configuration of a service's settings class; `service` as in `billing-worker`."""
    return SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda field: _variables(service, field)),
        validate_by_name=True,  # so that a test can say Settings(amqp_url=…)
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )


class Environment(BaseSettings):
    """What all groups share: how they are read and how they fail."""

    model_config = for_service("")

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            SettingsError: a variable is missing or bad; all of them are named at once.
        """
        name = os.environ.get(ENV_FILE_VARIABLE, ".env")
        if name and ENV_FILE_VARIABLE in os.environ and not Path(name).is_file():
            raise SettingsError([f"{ENV_FILE_VARIABLE}: there is no such file"])
        try:
            return cls(_env_file=name or None)
        except ValidationError as error:
            raise SettingsError(_problems(cls, error)) from None  # the cause quotes values


def _problems(model: type[Environment], error: ValidationError) -> list[str]:
    variables = {
        str(alias).lower(): field.upper()
        for field, info in model.model_fields.items()
        if isinstance(info.validation_alias, AliasChoices)
        for alias in (field, *info.validation_alias.choices)
    }
    return [
        f"{variables.get(str(found['loc'][0]).lower(), 'settings') if found['loc'] else 'settings'}"
        f": {_rule(found['type'], found.get('ctx', {}))}"
        for found in error.errors(include_url=False, include_input=False)
    ]


def _rule(kind: str, context: dict[str, Any]) -> str:
    match kind:
        case "missing":
            return "is not set"
        case "value_error":
            return str(context["error"])  # texts of our own validators, below
        case "literal_error":
            return f"must be one of {context['expected']}"
        case "int_parsing" | "int_type":
            return "must be a whole number"
        case "float_parsing" | "float_type":
            return "must be a number"
        case "bool_parsing":
            return "must be true or false"
        case "greater_than":
            return f"must be more than {context['gt']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "string_too_short" | "too_short":
            return f"must have at least {context['min_length']} characters"
        case _:
            return f"is not valid ({kind})"


# --- kinds of values -----------------------------------------------------------------------------


def _url(*schemes: str) -> Any:
    def check(secret: SecretStr) -> SecretStr:
        _check_url(secret.get_secret_value(), schemes)
        return secret

    return AfterValidator(check)


def _check_url(url: str, schemes: tuple[str, ...]) -> None:
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    try:
        parts = urlsplit(url)
        right = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text may quote the value
        right = False
    if not right:
        raise ValueError(f"must be a URL that starts with {wanted}, and name a host")


def _http_url(url: str) -> str:
    _check_url(url, ("http", "https"))
    return url.rstrip("/")


def _split(value: Any) -> Any:
    """`a, b` → ("a", "b")."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _check_ring(ring: SecretStr) -> SecretStr:
    ids = set()
    for entry in _split(ring.get_secret_value()):
        key_id, _, encoded = entry.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if not key_id or len(key) != 32:
            raise ValueError("must be id:base64 of 32 bytes, comma-separated (see `make keys`)")
        if key_id in ids:
            raise ValueError("must not name a key id twice")
        ids.add(key_id)
    if not ids:
        raise ValueError("must hold at least one key (see `make keys`)")
    return ring


Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
SecretWords = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
KeyRingText = Annotated[SecretStr, AfterValidator(_check_ring)]
DataCenter = Literal["us", "eu", "in", "au", "jp", "ca", "sa", "cn", "uk", "ae"]


# --- groups --------------------------------------------------------------------------------------


class Amqp(Environment):
    amqp_url: Annotated[SecretStr, _url("amqp", "amqps")]


class Database(Environment):
    database_url: Annotated[SecretStr, _url("postgresql", "postgres")]
    database_pool_size: Annotated[int, Field(ge=2, le=100)] = 8


class Crypto(Environment):
    """Rings as `id:base64 of 32 bytes`, comma-separated; the first key writes, all read."""

    encryption_keys: KeyRingText
    index_keys: KeyRingText


class TokenServiceKey(Environment):
    token_service_key: Annotated[SecretStr, Field(min_length=16)]


class TokenService(TokenServiceKey):
    """Where workers get access tokens: replicas of token-service, asked in turn."""

    token_service_url: Annotated[
        tuple[HttpUrl, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)
    ]


class ZohoEndpoints(Environment):
    """The data centre's hosts; a URL given here wins, and is the full prefix without a slash."""

    zoho_data_center: DataCenter = "us"
    zoho_accounts_url: HttpUrl | None = None
    zoho_billing_url: HttpUrl | None = None
    zoho_books_url: HttpUrl | None = None
    zoho_crm_url: HttpUrl | None = None
    zoho_crm_version: Annotated[str, Field(pattern=r"^v\d+(\.\d+)?$")] = "v8"
    zoho_crm_upload_url: HttpUrl | None = None
    zoho_desk_url: HttpUrl | None = None


FinancePlan = Literal["free", "standard", "professional", "premium", "elite", "ultimate"]
CrmEdition = Literal[
    "free", "standard", "starter", "professional", "enterprise", "one", "ultimate", "crm_plus"
]
DeskEdition = Literal[
    "free", "express", "standard", "professional", "enterprise", "one", "crm_plus"
]


class ZohoCalls(Environment):
    """How calls to Zoho are timed, and which plans' limits apply (without one, the lowest).

    `effect_write_s`: how long after its intent is committed a create may still be written.
    `effect_timeout_s`: the longest time Zoho may work on it then; not less than any request's
    timeout. `settle_factor`: what the operations' settle times are multiplied by; less than 1 only
    where searches do not lag. `zoho_<product>_calls_a_minute`, `…_credits_a_day`, `…_in_flight`:
    other limits than the plan's, such as ones that Zoho raised, or less than all of them.
    `zoho_minute_calls`: the first of these for Billing and Books at once; `zoho_window_s`: how long
    a minute is, where it is not Zoho's. `breaker_pause_s`: how long nothing is called that a person
    has to mend first, or after an outage; doubles up to 5 minutes.
    """

    effect_write_s: Seconds = 5.0
    effect_timeout_s: Seconds = 40.0
    settle_factor: Annotated[float, Field(ge=0)] = 1.0
    zoho_billing_plan: FinancePlan | None = None
    zoho_books_plan: FinancePlan | None = None
    zoho_crm_edition: CrmEdition | None = None
    zoho_crm_users: Count = 1
    zoho_desk_edition: DeskEdition | None = None
    zoho_desk_agents: Count = 1
    zoho_billing_calls_a_minute: Count | None = None
    zoho_billing_credits_a_day: Count | None = None
    zoho_billing_in_flight: Count | None = None
    zoho_books_calls_a_minute: Count | None = None
    zoho_books_credits_a_day: Count | None = None
    zoho_books_in_flight: Count | None = None
    zoho_crm_calls_a_minute: Count | None = None
    zoho_crm_credits_a_day: Count | None = None
    zoho_crm_in_flight: Count | None = None
    zoho_desk_calls_a_minute: Count | None = None
    zoho_desk_credits_a_day: Count | None = None
    zoho_desk_in_flight: Count | None = None
    zoho_minute_calls: Count | None = None
    zoho_window_s: Seconds | None = None
    breaker_pause_s: Seconds = 15.0


class ZohoOrganization(Environment):
    """Billing's organization, and Books' where that is another one."""

    zoho_organization_id: Annotated[str, Field(min_length=1)]
    zoho_books_organization_id: str | None = None

    @property
    def books_organization_id(self) -> str:
        return self.zoho_books_organization_id or self.zoho_organization_id


class BillingFields(Environment):
    """Custom fields that carry our ids, and which plans cost nothing."""

    zoho_billing_user_field: str | None = None
    zoho_books_invoice_field: str | None = None
    zoho_free_plan_codes: Words = ()


class CrmFields(Environment):
    zoho_crm_user_field: str | None = None
    zoho_crm_tier_field: str | None = None


class Desk(Environment):
    zoho_desk_org_id: Annotated[str, Field(min_length=1)]
    zoho_desk_department_id: Annotated[str, Field(min_length=1)]
    zoho_desk_priority: str = "Medium"
    zoho_desk_status: str = "Open"
    zoho_desk_escalation_field: str | None = None


class Consumer(Environment):
    """How a worker takes messages. `drain_timeout_s` is longer than a request may take, so that a
    deploy never cuts a write short."""

    prefetch: Annotated[int, Field(ge=1, le=1000)] = 32
    lease_s: Seconds = 30.0
    max_attempts: Count = 12
    drain_timeout_s: Seconds = 30.0
    # RabbitMQ counts in 32 bits of milliseconds: 49 days are the most.
    dead_letter_days: Annotated[int, Field(ge=1, le=49)] = 30
    unknown_user_wait: Annotated[float, Field(ge=0)] = 900.0  # seconds


class HttpServer(Environment):
    """Where a service's own HTTP interface listens; its settings give `http_port` a default."""

    http_host: str = "0.0.0.0"  # noqa: S104 - in a container; the local stack sets 127.0.0.1
    http_port: Port


class Observability(Environment):
    """Logs, and where `/metrics`, `/healthz` and `/readyz` are served; port 0 takes a free one."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    http_host: str = "0.0.0.0"  # noqa: S104 - as above
    metrics_port: Port
