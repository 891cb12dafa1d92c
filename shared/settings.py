"""Define the settings of services, in groups that each service picks from.

    class Settings(Amqp, Database, Crypto, ConsumerSettings, Observability):
        model_config = for_service("billing-worker")
        metrics_port: Port = 9102

    settings = Settings.load()

`shared.environment` says how variables are named and read.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from shared.environment import (
    Count,
    Environment,
    HttpUrl,
    KeyRingText,
    Port,
    Seconds,
    secret_url,
    words,
)
from shared.server_urls import check_amqp_url, check_database_url


class Amqp(Environment):
    amqp_url: Annotated[SecretStr, secret_url(check_amqp_url)]


class Database(Environment):
    database_url: Annotated[SecretStr, secret_url(check_database_url)]
    database_pool_size: Annotated[int, Field(ge=2, le=100)] = 8


class Crypto(Environment):
    """Key rings as `id:base64 of 32 bytes`, comma-separated. The first key writes, all read."""

    encryption_keys: KeyRingText
    index_keys: KeyRingText


class TokenServiceKey(Environment):
    token_service_key: Annotated[SecretStr, Field(min_length=16)]


class TokenServiceAccess(TokenServiceKey):
    """The source of workers' access tokens: the replicas of token-service, asked in turn."""

    token_service_url: Annotated[
        tuple[HttpUrl, ...], NoDecode, BeforeValidator(words), Field(min_length=1)
    ]


DataCenterName = Literal["us", "eu", "in", "au", "jp", "ca", "sa", "cn", "uk", "ae"]


class ZohoEndpoints(Environment):
    """The data centre's hosts. A URL given here wins. It is the full prefix, without a slash."""

    zoho_data_center: DataCenterName = "us"
    zoho_accounts_url: HttpUrl | None = None


class ZohoCalls(Environment):
    """The timing of calls to Zoho, and the plans whose limits apply (without one, the lowest).

    `effect_write_s`: how long after its intent is committed a create may still be written.
    `effect_timeout_s`: the longest time that Zoho may work on it then, not less than any request's
    timeout. `settle_factor`: the operations' search lags are multiplied by it. It is less than 1
    only where searches do not lag. `zoho_<product>_calls_a_minute`, `…_credits_a_day`,
    `…_in_flight`: other limits than the plan's, such as ones that Zoho raised, or lower ones that
    leave some to others. `zoho_minute_calls`: the first of these, for all products that Zoho limits
    by the minute. `zoho_window_s`: the length of a minute, where it is not Zoho's.
    `breaker_pause_s`: how long nothing is called after a refusal that a person has to resolve, or
    an outage. It doubles up to 5 minutes.
    """

    effect_write_s: Seconds = 5.0
    effect_timeout_s: Seconds = 40.0
    settle_factor: Annotated[float, Field(ge=0)] = 1.0
    zoho_minute_calls: Count | None = None
    zoho_window_s: Seconds | None = None
    breaker_pause_s: Seconds = 15.0


DAY_S: Final = 86_400.0
# What arrived is kept as a repetition for 60 days. A message has to end well before.
LONGEST_WAIT_S: Final = 30 * DAY_S
WaitEnd = Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)]


class ConsumerSettings(Environment):
    """The consuming of messages. `drain_timeout_s` is longer than a request may take, so that a
    deploy never cuts a write short."""

    # Messages that a process works on at once.
    slots: Annotated[int, Field(ge=1, le=1000)] = 32
    # The messages of a killed process wait for so long until another replica takes them over: with
    # the poll of the dispatcher within 5 s.
    lease_s: Seconds = 4.0
    max_attempts: Count = 12
    drain_timeout_s: Seconds = 30.0
    dead_letter_days: Annotated[int, Field(ge=1, le=3650)] = 30
    # The ends of waits, by what is waited for. Only time in which a wait could have ended counts.
    unknown_user_wait: WaitEnd = 900.0  # seconds
    contact_wait_s: WaitEnd = 900.0
    invoice_wait_s: WaitEnd = 900.0
    other_facts_wait_s: WaitEnd = 900.0  # a subscription, a payment, an escalation
    look_again_wait_s: WaitEnd = 6 * 3600.0
    # Longer than a wait for the next day's quota.
    time_wait_s: Annotated[float, Field(gt=DAY_S, le=LONGEST_WAIT_S)] = 7 * DAY_S
    release_wait_s: WaitEnd = DAY_S
    # Beyond these, intake stops taking. What waits for a fact or a person is bounded by ten times
    # as much.
    intake_open_messages: Count = 200_000
    intake_open_bytes: Count = 4 * 1024**3


class ErasureSettings(Environment):
    """The times of erasures, in seconds, and how long copies that nobody can edit are kept.

    `erasure_quiet_s`: how long after an erasure was asked for a request that began before may still
    reach Zoho. Without one, a lease and the longest request. `erasure_retry_s`: how soon a product
    without an answer is asked again. `erasure_refusals`: how often Zoho is asked again for what it
    refused, `erasure_refusal_wait_s` apart. `backup_days`: how long backups of PostgreSQL and of
    the broker's disk are kept. The receipt names it.
    """

    erasure_quiet_s: Annotated[float, Field(ge=0)] | None = None
    erasure_retry_s: Seconds = 60.0
    erasure_refusals: Annotated[int, Field(ge=0)] = 3
    erasure_refusal_wait_s: Seconds = 900.0
    backup_days: Annotated[int, Field(ge=0, le=3650)] = 30


class HttpServer(Environment):
    """The address of a service's own HTTP interface. Its settings give `http_port` a default."""

    http_host: str = "0.0.0.0"  # noqa: S104 - in a container. The local stack sets 127.0.0.1.
    http_port: Port


class Observability(Environment):
    """Logs, and the port of `/metrics`, `/healthz` and `/readyz`. Port 0 takes a free one."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    http_host: str = "0.0.0.0"  # noqa: S104 - as above
    metrics_port: Port
