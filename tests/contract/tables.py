"""Read our tables of Zoho's operations, and find the one that a request is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator

from tests.contract.documented import Documented, Parameter, pattern_of
from tests.contract.exchanges import Exchange
from tests.contract.notation import Notation, NotedField
from tests.contract.validation import request_problems

PRODUCTS: Final = ("billing", "books", "crm", "desk")
_FOLDER: Final = Path(__file__).parent / "table"
_JSON: Final = "application/json"

OurOperation = tuple[str, str]
"""Product and name, as in `Operation("billing", "create_customer", …)`."""


@dataclass(frozen=True, kw_only=True)
class Tabled(Documented):
    """One entry. `noted` is the entry as it stands in the file, its answers with the envelope.

    `in_zohos_file` is False for the form of an older API, which no file describes.
    """

    operation: OurOperation
    accept: str
    in_zohos_file: bool
    notation: Notation
    noted: Mapping[Any, Any]

    @property
    def source(self) -> str:
        return str(self.noted.get("source", ""))

    def fits(self, exchange: Exchange) -> bool:
        # The test of a wrong header is not whose entry it is.
        wants_pdf = exchange.headers.get("accept") == "application/pdf"
        return (
            (self.product, self.method) == (exchange.product, exchange.method)
            and (self.accept == "application/pdf") == wants_pdf
            and pattern_of(self.path).fullmatch(exchange.path) is not None
        )


class Tables:
    """All entries of all products."""

    def __init__(self, contents: Mapping[str, Mapping[str, Any]]) -> None:
        """`contents`: of each product's file, parsed."""
        self.entries = [
            entry for product, content in contents.items() for entry in _entries(product, content)
        ]

    def entry_of(self, exchange: Exchange) -> Tabled | None:
        """Return the entry that this request is one of, or is nearest to. None without any."""
        found = [entry for entry in self.entries if entry.fits(exchange)]
        if not found:
            return None
        fewest = min(entry.path.count("{") for entry in found)
        exact = [entry for entry in found if entry.path.count("{") == fewest]
        return min(exact, key=lambda entry: len(request_problems(exchange, entry)))

    @property
    def operations(self) -> set[OurOperation]:
        return {entry.operation for entry in self.entries}


@cache
def our_tables() -> Tables:
    """Read the files, once in a process."""
    return Tables(
        {product: yaml.safe_load((_FOLDER / f"{product}.yml").read_text()) for product in PRODUCTS}
    )


def _entries(product: str, content: Mapping[str, Any]) -> Iterator[Tabled]:
    notation = Notation(content["shapes"])
    organization = content.get("organization", {})
    for name, noted in content["operations"].items():
        method, path = noted["request"].split(" ")
        answers = {
            status: _answer(answer, content.get("envelope", {}))
            for status, answer in noted.items()
            if isinstance(status, int)
        }
        yield Tabled(
            product=product,
            operation=(product, noted.get("operation", name)),
            method=method,
            path=path,
            accept=noted.get("accept", _JSON),
            in_zohos_file=noted.get("zoho_file", True),
            notation=notation,
            noted=noted | answers,
            parameters=(
                *(_required_id(where, name) for where, name in organization.items()),
                *_parameters("query", noted.get("query", {}), notation),
                *_parameters("header", noted.get("headers", {}), notation),
            ),
            takes_body="body" in noted,
            request=(
                Draft202012Validator(notation.schema(noted["body"], closed=True))
                if "body" in noted
                else None
            ),
            answers={
                status: (
                    None
                    if answer in ("none", "pdf")
                    else Draft202012Validator(notation.schema(answer, closed=False))
                )
                for status, answer in answers.items()
            },
        )


def _answer(noted: Any, envelope: Mapping[str, Any]) -> Any:
    return {**envelope, **noted} if isinstance(noted, dict) else noted


def _required_id(where: str, name: str) -> Parameter:
    return Parameter(name, where, True, Draft202012Validator({"type": "string"}))


def _parameters(where: str, noted: Mapping[str, Any], notation: Notation) -> Iterator[Parameter]:
    for key, value in noted.items():
        field = NotedField.of(key)
        schema = Draft202012Validator(notation.schema(value, closed=True))
        yield Parameter(field.name, where, field.required, schema)
