"""Read a service's settings from its environment, and define the types of values in them.

Every variable is named as its field, in capitals. `<SERVICE>_<VARIABLE>` (such as
`BILLING_WORKER_AMQP_URL`) wins over `<VARIABLE>`, so that each service may have a role of its own.
An empty value counts as not set. `.env` is read too, unless ZOHO_RELAY_ENV_FILE names another file
or, being empty, none.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Self

from dotenv.parser import parse_stream
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

from shared.server_urls import check_url

ENV_FILE_VARIABLE = "ZOHO_RELAY_ENV_FILE"
ENV_FILE_ENCODING = "utf-8-sig"  # some editors put a mark at its beginning


class SettingsError(Exception):
    """The environment is incomplete or wrong. One line per problem, and values are never shown."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _variables(service: str, field: str) -> AliasChoices:
    name = field.upper()
    own = f"{service.upper().replace('-', '_')}_{name}"
    return AliasChoices(own, name) if service else AliasChoices(name)


def for_service(service: str) -> SettingsConfigDict:
    """Return the configuration of a service's settings class. `service` is as `billing-worker`."""
    return SettingsConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda field: _variables(service, field)),
        validate_by_name=True,  # so that a test can say Settings(amqp_url=…)
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )


class Environment(BaseSettings):
    """The base of all groups of settings: how they are read and how they fail."""

    model_config = for_service("")

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            SettingsError: variables are missing or wrong. All of them are named at once. Or the
                file cannot be read.
        """
        name = os.environ.get(ENV_FILE_VARIABLE, ".env")
        if name and ENV_FILE_VARIABLE in os.environ and not Path(name).is_file():
            raise SettingsError([f"{ENV_FILE_VARIABLE}: there is no such file"])
        if name:
            check_env_file(Path(name))
        try:
            return cls(_env_file=name or None, _env_file_encoding=ENV_FILE_ENCODING)
        except ValidationError as error:
            raise SettingsError(_problems(cls, error)) from None  # the cause quotes values


def check_env_file(file: Path) -> None:
    """Check that an env file, if it is there, is text in UTF-8 with lines of the form NAME=value.

    Raises:
        SettingsError: it is not, or may not be read. The file and the line are named.
    """
    try:
        content = file.read_bytes() if file.is_file() else b""
    except OSError as error:
        raise SettingsError([f"{file}: cannot be read ({error.strerror})"]) from error
    try:
        text = content.decode(ENV_FILE_ENCODING)
        # UTF-16 without a mark at its beginning is UTF-8 with a NUL in every other place.
        wrong = content.find(b"\0")
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        line = content.count(b"\n", 0, wrong) + 1
        raise SettingsError([f"{file}, line {line}: is not UTF-8: save the file in that encoding"])
    unreadable = [
        f"{file}, line {binding.original.line}: is not of the form NAME=value; is a quote open?"
        for binding in parse_stream(StringIO(text))
        if binding.error
    ]
    if unreadable:
        raise SettingsError(unreadable)


def _problems(model: type[Environment], error: ValidationError) -> list[str]:
    variables = {
        str(alias).lower(): field.upper()
        for field, info in model.model_fields.items()
        if isinstance(info.validation_alias, AliasChoices)
        for alias in (field, *info.validation_alias.choices)
    }
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        field = str(detail["loc"][0]).lower() if detail["loc"] else ""
        rule = _rule(detail["type"], detail.get("ctx", {}))
        problems.append(f"{variables.get(field, 'settings')}: {rule}")
    return problems


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


# --- types of values -----------------------------------------------------------------------------


def secret_url(check: Callable[[str], None]) -> AfterValidator:
    """Return the rule of a secret URL. `check` raises ValueError with a text that hides the URL."""

    def checked(secret: SecretStr) -> SecretStr:
        check(secret.get_secret_value())
        return secret

    return AfterValidator(checked)


def _http_url(url: str) -> str:
    check_url(url, ("http", "https"))
    return url.rstrip("/")


def words(value: Any) -> Any:
    """Split `a, b` into ("a", "b")."""
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _check_ring(ring: SecretStr) -> SecretStr:
    ids = set()
    for entry in words(ring.get_secret_value()):
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
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(words)]
SecretWords = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(words)]
KeyRingText = Annotated[SecretStr, AfterValidator(_check_ring)]
