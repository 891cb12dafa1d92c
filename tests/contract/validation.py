"""Compare one exchange with a reference. Findings name fields and rules, never values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from jsonschema import ValidationError
from jsonschema.protocols import Validator

from tests.contract.documented import Documented
from tests.contract.exchanges import Exchange

# The messages of these hold names of fields. Those of others hold values, which are not shown.
_NAMED_BY_SCHEMA: Final = ("required", "additionalProperties", "unevaluatedProperties")


def request_problems(exchange: Exchange, documented: Documented) -> list[str]:
    """Report what a client sent that the reference does not allow, or left out."""
    return [
        *_parameter_problems(exchange, documented),
        *_header_problems(exchange),
        *_body_problems(exchange, documented),
    ]


def answer_problems(exchange: Exchange, documented: Documented) -> list[str]:
    """Report what the sandbox answered to a success beyond the reference. Refusals are not
    looked at, because the finance files have none and Desk's are not complete."""
    answer = exchange.answer
    if answer is None or not 200 <= exchange.status < 300:
        return []
    if exchange.status not in documented.answers:
        return [f"answer: {exchange.status} is not documented"]
    if answer["type"] == "application/pdf":
        return []
    schema = documented.answers[exchange.status]
    if schema is None:
        return ["answer: should have no body"] if answer["bytes"] else []
    if "json" not in answer:
        return ["answer: should be JSON"]
    return _schema_problems("answer", schema, answer["json"])


def _parameter_problems(exchange: Exchange, documented: Documented) -> Iterator[str]:
    given = {
        "path": documented.path_values(exchange.path),
        "query": exchange.query,
        "header": exchange.headers,
    }
    known = {(one.where, one.name) for one in documented.parameters}
    for parameter in documented.parameters:
        name = parameter.name.lower() if parameter.where == "header" else parameter.name
        value = given[parameter.where].get(name)
        label = f"{parameter.where} {parameter.name}"
        if value is None:
            if parameter.required:
                yield f"{label}: missing"
        elif not any(parameter.schema.is_valid(reading) for reading in _readings(value)):
            yield f"{label}: not as its schema says"
    for name in exchange.query:
        if ("query", name) not in known:
            yield f"query {name}: not documented"


def _header_problems(exchange: Exchange) -> Iterator[str]:
    if "authorization" not in exchange.headers:
        yield "header Authorization: missing"
    if exchange.body is not None and exchange.headers.get("content-type") != "application/json":
        yield "header Content-Type: should be application/json"


def _body_problems(exchange: Exchange, documented: Documented) -> list[str]:
    if exchange.body is None:
        return ["body: missing"] if documented.request is not None else []
    if not documented.takes_body:
        return ["body: there should be none"]
    if documented.request is None:
        return []
    return _schema_problems("body", documented.request, exchange.body)


def _readings(value: str) -> Iterator[Any]:
    """Return the values that a parameter's text may mean: only the schema knows its type."""
    yield value
    yield {"true": True, "false": False}.get(value)
    try:
        yield int(value)
        yield float(value)
    except ValueError:
        pass
    yield value.split(",")


def _schema_problems(label: str, schema: Validator, value: Any) -> list[str]:
    found = {f"{label}{_place(error)}: {_described(error)}" for error in _leaves(schema, value)}
    return sorted(found)


def _leaves(schema: Validator, value: Any) -> Iterator[ValidationError]:
    for error in schema.iter_errors(value):
        yield from _deepest(error)


def _deepest(error: ValidationError) -> Iterator[ValidationError]:
    """Of alternatives that all fail, the errors of the one that got furthest."""
    if not error.context:
        yield error
        return
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context:
        branches.setdefault(inner.schema_path[0], []).append(inner)
    for inner in min(branches.values(), key=len):
        yield from _deepest(inner)


def _place(error: ValidationError) -> str:
    """`.plan.plan_code`, `.data[].Email`: the same for all rows of a list."""
    return "".join("[]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)


def _described(error: ValidationError) -> str:
    if error.validator in _NAMED_BY_SCHEMA:
        return str(error.message)
    rule: Any = error.validator_value
    expected = rule if isinstance(rule, (str, int, float, list)) else ""
    return f"is {_kind(error.instance)}, against {error.validator} {expected}".rstrip()


def _kind(value: Any) -> str:
    kinds: Mapping[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return kinds.get(type(value), type(value).__name__)
