"""Read the notation of the tables (table/README.md): as JSON Schema, and as samples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_TYPES: Final[Mapping[str, tuple[Schema, Any]]] = {
    "string": (_TEXT, "text"),
    "integer": ({"type": "integer"}, 2),
    "number": ({"type": "number"}, 2.5),
    "boolean": ({"type": "boolean"}, True),
    "any": ({}, "text"),
    "empty": ({"enum": [None, ""]}, ""),
    "null": ({"type": "null"}, None),
    "id": (_TEXT | {"pattern": r"^\d+$"}, "4600000000001"),
    "money": ({"anyOf": [{"type": "number"}, _TEXT | {"pattern": r"^-?\d+(\.\d+)?$"}]}, 2.5),
    "email": (_TEXT | {"pattern": r"^[^@\s]+@[^@\s]+$"}, "ada@example.com"),
    "date": (_TEXT | {"pattern": r"^\d{4}-\d\d-\d\d$"}, "2026-01-31"),
    "time": (
        _TEXT | {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)$"},
        "2026-01-31T10:00:00.000Z",
    ),
}
_CUSTOM: Final = "<custom>"


@dataclass(frozen=True)
class NotedField:
    """`name*~`: required, and not in Zoho's OpenAPI file."""

    name: str
    required: bool
    elsewhere: bool

    @classmethod
    def of(cls, key: str) -> NotedField:
        name = key.rstrip("*~")
        marks = key[len(name) :]
        return cls(name, "*" in marks, "~" in marks)


@dataclass(frozen=True)
class Notation:
    """The notation of one table, with its shapes by name."""

    shapes: Mapping[str, Any]

    def schema(self, noted: Any, *, closed: bool) -> Schema:
        """Return what `noted` stands for as JSON Schema. `closed`: no other fields."""
        match noted:
            case {**fields}:
                return self._object(fields, closed)
            case [item]:
                return {"type": "array", "items": self.schema(item, closed=closed)}
            case str():
                ways = [self._one(way, closed) for way in noted.split(" | ")]
                return ways[0] if len(ways) == 1 else {"anyOf": ways}
        raise ValueError(f"not in the notation: {noted!r}")

    def samples(self, noted: Any) -> Iterator[Any]:
        """Yield values of it: the fullest in each of its alternatives, then the smallest.

        Fields that are known from elsewhere than Zoho's file are left out.
        """
        for which in range(self._most_ways(noted)):
            yield self._sample(noted, which, smallest=False)
        yield self._sample(noted, 0, smallest=True)

    def _object(self, fields: Mapping[str, Any], closed: bool) -> Schema:
        named = {NotedField.of(key): noted for key, noted in fields.items()}
        schema: Schema = {
            "type": "object",
            "properties": {
                field.name: self.schema(noted, closed=closed)
                for field, noted in named.items()
                if field.name != _CUSTOM
            },
            "required": [field.name for field in named if field.required],
        }
        if _CUSTOM in fields:
            schema["additionalProperties"] = self.schema(fields[_CUSTOM], closed=closed)
        elif closed:
            schema["additionalProperties"] = False
        return schema

    def _one(self, way: str, closed: bool) -> Schema:
        if way.startswith("="):
            return {"const": way[1:]}
        if way in self.shapes:
            return self.schema(self.shapes[way], closed=closed)
        name, _, longest = way.partition("<=")
        schema, _ = _TYPES[name]
        return schema | {"maxLength": int(longest)} if longest else schema

    def _sample(self, noted: Any, which: int, *, smallest: bool) -> Any:
        match noted:
            case {**fields}:
                named = [(NotedField.of(key), value) for key, value in fields.items()]
                return {
                    field.name: self._sample(value, which, smallest=smallest)
                    for field, value in named
                    if not field.elsewhere and field.name != _CUSTOM
                    if field.required or not smallest
                }
            case [item]:
                return [self._sample(item, which, smallest=smallest)]
        ways = noted.split(" | ")
        way = ways[min(which, len(ways) - 1)]
        if way.startswith("="):
            return way[1:]
        if way in self.shapes:
            return self._sample(self.shapes[way], which, smallest=smallest)
        return _TYPES[re.split("<=", way)[0]][1]

    def _most_ways(self, noted: Any) -> int:
        match noted:
            case {**fields}:
                return max(map(self._most_ways, fields.values()), default=1)
            case [item]:
                return self._most_ways(item)
        ways = noted.split(" | ")
        inner = [self._most_ways(self.shapes[way]) for way in ways if way in self.shapes]
        return max([len(ways), *inner])
