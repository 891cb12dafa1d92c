"""Build conditions on records, for search criteria and for COQL.

A condition is a function from a record to bool. Text is compared without regard to case, and times
as instants, whatever their offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from operator import ge, gt, le, lt
from typing import Any

from services.zoho_sandbox.server.tables import Record

Condition = Callable[[Record], bool]

_ORDER = {">": gt, "<": lt, ">=": ge, "<=": le}


class QueryError(Exception):
    """Zoho does not understand the query. `code` is the error code of its answer."""

    def __init__(self, message: str, code: str = "INVALID_QUERY") -> None:
        super().__init__(message)
        self.code = code


def condition(field: str, operator: str, values: list[str]) -> Condition:
    """Return one comparison. Raises: QueryError: Zoho does not have this operator."""
    match operator:
        case "=" | "in":
            return lambda row: any(
                _comparable(_value(row, field)) == _comparable(v) for v in values
            )
        case "!=" | "not in":
            return lambda row: all(
                _comparable(_value(row, field)) != _comparable(v) for v in values
            )
        case "contains":
            return lambda row: values[0].casefold() in str(_value(row, field) or "").casefold()
        case "starts_with":
            return lambda row: _text(row, field).startswith(values[0].casefold())
        case "like":
            return _like(field, values[0].casefold())
        case "is null":
            return lambda row: _value(row, field) in (None, "")
        case "is not null":
            return lambda row: _value(row, field) not in (None, "")
        case ">" | "<" | ">=" | "<=":
            return _ordered(field, operator, values[0])
        case "between":
            low, high = _ordered(field, ">=", values[0]), _ordered(field, "<=", values[1])
            return lambda row: low(row) and high(row)
        case _:
            raise QueryError(f"operator {operator} is not supported")


def both(left: Condition, right: Condition, word: str) -> Condition:
    """Return `left and right`, or `left or right`."""
    if word == "and":
        return lambda row: left(row) and right(row)
    return lambda row: left(row) or right(row)


def _like(field: str, pattern: str) -> Condition:
    text = pattern.strip("%")
    match pattern.startswith("%"), pattern.endswith("%"):
        case True, True:
            return lambda row: text in _text(row, field)
        case True, False:
            return lambda row: _text(row, field).endswith(text)
        case False, True:
            return lambda row: _text(row, field).startswith(text)
        case _:
            return lambda row: _text(row, field) == text


def _ordered(field: str, operator: str, value: str) -> Condition:
    wanted = _comparable(value)

    def compare(row: Record) -> bool:
        actual = _comparable(_value(row, field))
        if actual is None or type(actual) is not type(wanted):
            return False
        return bool(_ORDER[operator](actual, wanted))

    return compare


def _value(row: Record, field: str) -> Any:
    value: Any = row
    for part in field.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value.get("id") if isinstance(value, dict) else value


def _text(row: Record, field: str) -> str:
    return str(_value(row, field) or "").casefold()


def _comparable(value: Any) -> Any:
    if not isinstance(value, str):
        return value if value is None else str(value).casefold()
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value.casefold()
    return moment if moment.tzinfo else value
