"""Parse bytes into models, and describe what does not fit by fields and rules, never values."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from shared.contracts.fields import PATTERN_RULES
from shared.errors import InvalidMessage

MAX_BODY_BYTES = 2 * 1024 * 1024

M = TypeVar("M", bound=BaseModel)

_SHOWN = 5  # problems named in one reason
_FIELD = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")
# Pydantic parses a JSON number into a double before it becomes a Decimal. Up to 15 digits survive
# that unchanged. A longer one is read again, so that its digits are checked as they were sent.
_LONG_NUMBER = re.compile(rb"[0-9.]{16}")


def parse(model: type[M], body: bytes) -> M:
    """Parse `body` as the model.

    Raises:
        InvalidMessage: it does not match (`invalid_message`), or is longer than 2 MiB
            (`too_large`).
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidMessage(f"the body is longer than {MAX_BODY_BYTES} bytes", code="too_large")
    try:
        if _holds_decimals(model) and _LONG_NUMBER.search(body):
            return model.model_validate(_exact(body))
        return model.model_validate_json(body)
    except ValidationError as error:
        # Not chained, because its text quotes what was sent.
        raise InvalidMessage(problems(error)) from None


def problems(error: ValidationError) -> str:
    """Describe what is wrong, in words fit to be logged and sent back."""
    details = error.errors(include_url=False, include_input=False)
    texts = list(dict.fromkeys(f"{_path(d['loc'])}: {_rule(d)}" for d in details))
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def _exact(body: bytes) -> Any:
    try:
        return json.loads(body, parse_float=Decimal)
    except (
        ValueError,
        RecursionError,
        InvalidOperation,
    ):  # the last for an exponent beyond all limits
        raise InvalidMessage("body: is not JSON") from None


@cache
def _holds_decimals(model: type[BaseModel]) -> bool:
    return "decimal" in str(model.__pydantic_core_schema__)


def _path(loc: tuple[int | str, ...]) -> str:
    """Return `lines[0].rate`. An unknown field's name is shown only when it looks like one."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _FIELD.match(part):
            path += f".{part}" if path else part
        elif not part.startswith(("tuple[", "constrained-", "function-")):  # a union's branches
            path += ".(a field)" if path else "(a field)"
    return path or "body"


_RULES = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this message",
    "json_invalid": "is not JSON",
    "model_type": "is not a JSON object",
    "model_attributes_type": "is not a JSON object",
    "string_type": "must be a string",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "decimal_type": "must be a decimal number, as a number or a string",
    "decimal_parsing": "must be a decimal number, as a number or a string",
    "finite_number": "must be a finite number",
    "decimal_max_digits": "must have at most {max_digits} digits",
    "decimal_max_places": "must have at most {decimal_places} digits after the point",
    "decimal_whole_digits": "must have at most {whole_digits} digits before the point",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of {expected}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "tuple_type": "must be a list",
    "timezone_aware": "must carry a time zone",
    "date_from_datetime_inexact": "must be a date without a time",
    "value_error": "{error}",  # texts of our own validators
}
_DATES = re.compile(r"^date(time)?_")


def _rule(detail: Any) -> str:
    kind = detail["type"]
    if kind == "string_pattern_mismatch":
        return PATTERN_RULES.get(detail["ctx"]["pattern"], "does not have the form it must have")
    if kind in _RULES:
        # The context of these holds only the limits of our own contracts.
        return _RULES[kind].format(**detail.get("ctx", {}))
    if _DATES.match(kind):
        return "must be a date or time in ISO 8601"
    return f"is not valid ({kind})"
