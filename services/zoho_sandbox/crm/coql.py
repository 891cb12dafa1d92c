"""Parse COQL: select, where, order by, limit. COQL reads the records themselves and never lags.

Source: Zoho CRM, "Get Records through COQL Query". A where clause is required, conditions beyond
two are nested in pairs, and there are at most 50 columns, 100 values in `in`, 2,000 rows a call.
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
    r"\s*('(?:\\.|''|[^'\\])*'|!=|>=|<=|[=<>(),]|not\s+in|not\s+like|is\s+not\s+null|is\s+null|[^\s'=<>!(),]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class CoqlQuery:
    """A parsed query for `limit` rows from `offset`, which counts from 0."""

    columns: list[str]
    module: str
    where: Condition
    order_by: str | None
    descending: bool
    offset: int
    limit: int

    @property
    def credits(self) -> int:
        """The call's cost: 1, 2 or 3 credits for up to 200, 1,000 or 2,000 rows."""
        return 1 if self.limit <= 200 else 2 if self.limit <= 1000 else 3


def parse_query(text: str) -> CoqlQuery:
    """Parse a query. Raises: QueryError: Zoho would answer INVALID_QUERY or LIMIT_EXCEEDED."""
    match = _QUERY.fullmatch(text)
    if not match:
        raise QueryError("a query is: select … from … where … [order by …] [limit …]")
    columns = [column.strip() for column in match["columns"].split(",")]
    first = int(match["limit"] or DEFAULT_ROWS)
    offset, limit = (
        (first, int(match["second"])) if match["second"] else (int(match["offset"] or 0), first)
    )
    if len(columns) > MAX_COLUMNS or limit > MAX_ROWS:
        raise QueryError("too many columns or rows", code="LIMIT_EXCEEDED")
    where = _WhereParser(_TOKEN.findall(match["where"])).parse()
    descending = (match["direction"] or "asc").lower() == "desc"
    return CoqlQuery(columns, match["module"], where, match["order"], descending, offset, limit)


class _WhereParser:
    """Parses the tokens of a where clause by recursive descent."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens

    def parse(self) -> Condition:
        parsed = self._pair()
        if self._tokens:
            raise QueryError("three or more conditions are nested in pairs of brackets")
        return parsed

    def _pair(self) -> Condition:
        left = self._operand()
        if self._tokens and self._tokens[0].lower() in ("and", "or"):
            word = self._next().lower()
            left = both(left, self._operand(), word)
        return left

    def _operand(self) -> Condition:
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
        if not token.startswith("'"):
            return token
        return re.sub(r"\\(.)|'(')", lambda match: match[1] or match[2], token[1:-1])

    def _expect(self, token: str) -> None:
        if self._next().lower() != token:
            raise QueryError(f"{token} expected")

    def _next(self) -> str:
        if not self._tokens:
            raise QueryError("the where clause ends too early")
        return self._tokens.pop(0)
