"""Parse search criteria: `((Email:equals:a@b.c)and(Last_Name:starts_with:X))`.

`equals` on text fields behaves like *contains*, as Zoho's own search page warns, so a caller has
to compare the results. There are at most ten conditions. A backslash escapes `( ) , \\`.
"""

from __future__ import annotations

import re

from services.zoho_sandbox.crm.conditions import Condition, QueryError, both, condition

MAX_CONDITIONS = 10
_OPERATORS = {
    "equals": "contains",
    "not_equal": "!=",
    "starts_with": "starts_with",
    "in": "in",
    "greater_than": ">",
    "less_than": "<",
    "greater_equal": ">=",
    "less_equal": "<=",
    "between": "between",
}


def parse_criteria(text: str) -> Condition:
    """Parse the value of `criteria=`. Raises: QueryError: Zoho would refuse it."""
    parsed, rest = _group(text.strip())
    if rest:
        raise QueryError("unexpected text after the criteria")
    if len(re.findall(r":[a-z_]+:", text)) > MAX_CONDITIONS:
        raise QueryError("too many conditions", code="LIMIT_EXCEEDED")
    return parsed


def _group(text: str) -> tuple[Condition, str]:
    if not text.startswith("("):
        raise QueryError("a criterion stands in parentheses")
    inner = text[1:]
    if not inner.startswith("("):
        return _comparison(inner)
    left, rest = _group(inner)
    while joined := re.match(r"\s*(and|or)\s*(?=\()", rest, re.IGNORECASE):
        right, rest = _group(rest[joined.end() :])
        left = both(left, right, joined[1].lower())
    if not rest.startswith(")"):
        raise QueryError("a parenthesis is not closed")
    return left, rest[1:]


def _comparison(text: str) -> tuple[Condition, str]:
    match = re.match(r"\s*([\w.]+)\s*:\s*(\w+)\s*:((?:\\.|[^\\()])*)\)", text)
    if not match or match[2] not in _OPERATORS:
        raise QueryError("a criterion is (field:operator:value)")
    raw = re.split(r"(?<!\\),", match[3]) if match[2] in ("in", "between") else [match[3]]
    values = [re.sub(r"\\(.)", r"\1", value).strip() for value in raw]
    return condition(match[1], _OPERATORS[match[2]], values), text[match.end() :]
