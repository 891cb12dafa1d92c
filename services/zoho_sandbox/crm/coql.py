"""COQL, the part that readers of contacts use: select, where, order by, limit. It never lags.

Source: Zoho CRM "Get Records through COQL Query": a where clause is required, conditions beyond two
are nested in pairs, at most 50 columns, 100 values in `in`, 2,000 rows a call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.zoho_sandbox.crm.conditions import Condition, QueryError, both, condition

MAX_COLUMNS, MAX_VALUES, MAX_ROWS, DEFAULT_ROWS = 50, 100, 2000, 200
_QUERY = re.compile(
    r"\s*select\s+(?P<columns>.+?)\s+from\s+(?P<module>\w+)\s+where\s+(?P<where>.+?)"
    r"(?:\s+order\s+by\s+(?P<order>[\w.]+)(?:\s+(?P<direction>asc|desc))?)?"
    r"(?:\s+limit\s+(?P<limit>\d+)(?:\s*,\s*(?P<second>\d+)|\s+offset\s+(?P<offset>\d+))?)?\s*",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN = re.compile(
    r"\s*('(?:\\.|[^'\\])*'|!=|>=|<=|[=<>(),]|not\s+in|not\s+like|is\s+not\s+null|is\s+null|[^\s'=<>!(),]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Query:
    """A parsed query. `limit` rows from `offset`, which counts from 0."""

    columns: list[str]
    module: str
    where: Condition
    order_by: str | None
    descending: bool
    offset: int
    limit: int

    @property
    def credits(self) -> int:
        """1, 2 or 3 for up to 200, 1,000 or 2,000 rows."""
        return 1 if self.limit <= 200 else 2 if self.limit <= 1000 else 3


def parse_query(text: str) -> Query:
    """Raises QueryError for what Zoho answers with INVALID_QUERY."""
    found = _QUERY.fullmatch(text)
    if not found:
        raise QueryError("a query is: select … from … where … [order by …] [limit …]")
    columns = [column.strip() for column in found["columns"].split(",")]
    first = int(found["limit"] or DEFAULT_ROWS)
    offset, limit = (
        (first, int(found["second"])) if found["second"] else (int(found["offset"] or 0), first)
    )
    if len(columns) > MAX_COLUMNS or limit > MAX_ROWS:
        raise QueryError("too many columns or rows", code="LIMIT_EXCEEDED")
    where = _Where(_TOKEN.findall(found["where"])).parse()
    descending = (found["direction"] or "asc").lower() == "desc"
    return Query(columns, found["module"], where, found["order"], descending, offset, limit)


class _Where:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    def parse(self) -> Condition:
        parsed = self._pair()
        if self._tokens:
            raise QueryError("three or more conditions are nested in pairs of brackets")
        return parsed

    def _pair(self) -> Condition:
        left = self._one()
        if self._tokens and self._tokens[0].lower() in ("and", "or"):
            word = self._next().lower()
            left = both(left, self._one(), word)
        return left

    def _one(self) -> Condition:
        if self._tokens and self._tokens[0] == "(":
            self._next()
            inner = self._pair()
            self._expect(")")
            return inner
        field, operator = self._next(), " ".join(self._next().lower().split())
        if operator in ("is null", "is not null"):
            return condition(field, operator, [])
        if operator in ("in", "not in"):
            return condition(field, operator, self._list())
        if operator == "between":
            low = self._value()
            self._expect("and")
            return condition(field, operator, [low, self._value()])
        return condition(field, operator, [self._value()])

    def _list(self) -> list[str]:
        self._expect("(")
        values = [self._value()]
        while self._tokens and self._tokens[0] == ",":
            self._next()
            values.append(self._value())
        self._expect(")")
        if len(values) > MAX_VALUES:
            raise QueryError("too many values", code="LIMIT_EXCEEDED")
        return values

    def _value(self) -> str:
        token = self._next()
        return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith("'") else token

    def _expect(self, token: str) -> None:
        if self._next().lower() != token:
            raise QueryError(f"{token} expected")

    def _next(self) -> str:
        if not self._tokens:
            raise QueryError("the where clause ends too early")
        return self._tokens.pop(0)
