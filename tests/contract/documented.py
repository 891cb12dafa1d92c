"""Describe one operation as a reference has it: a table of ours, or one of Zoho's files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from jsonschema.protocols import Validator


@dataclass(frozen=True)
class Parameter:
    name: str
    where: str
    required: bool
    schema: Validator


@dataclass(frozen=True, kw_only=True)
class Documented:
    """One operation. `request` and the schemas in `answers` may be None: nothing is said of the
    body."""

    product: str
    method: str
    path: str
    parameters: tuple[Parameter, ...]
    takes_body: bool
    request: Validator | None
    answers: Mapping[int, Validator | None]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    def path_values(self, path: str) -> dict[str, str]:
        match = pattern_of(self.path).fullmatch(path)
        names = re.findall(r"\{([^}]*)\}", self.path)
        return dict(zip(names, match.groups() if match else (), strict=True))


@cache
def pattern_of(template: str) -> re.Pattern[str]:
    """Match the paths of a template: `/customers/{customer_id}`."""
    return re.compile(
        "".join(
            "([^/]+)" if part.startswith("{") else re.escape(part)
            for part in re.split(r"(\{[^}]*\})", template)
        )
    )
