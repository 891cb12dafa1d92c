"""Define the types of fields that contracts are made of, and their limits.

Lengths follow the tightest documented limit of the Zoho products that take the value, so that
nothing is cut there unnoticed: a cut email no longer matches and makes a second contact.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, StringConstraints, WithJsonSchema

_ID = r"^[!-~](?:[ -~]{0,126}[!-~])?$"
_CODE = r"^[!-~](?:[ -~]{0,98}[!-~])?$"
_EMAIL = (
    r"^[^\s\x00-\x1f\x7f@<>()\[\],;:\"\\]{1,64}"
    r"@(?:[^\s\x00-\x1f\x7f@<>()\[\],;:\"\\.]{1,63}\.)+"
    r"[^\s\x00-\x1f\x7f@<>()\[\],;:\"\\.]{2,63}$"
)
_CURRENCY = r"^[A-Z]{3}$"
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_SOME_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$"
# Python's own parser of numbers accepts 1_0, spaces, 1e5, and the digits of any script.
_PLAIN = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,30})?")
_FINEST = -30  # exponent of the last digit that is looked at
_LARGEST = 12  # exponent of the first
_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

PATTERN_RULES = {
    _ID: "must be visible ASCII characters, with spaces only inside",
    _CODE: "must be visible ASCII characters, with spaces only inside",
    _EMAIL: "must be an email address",
    _CURRENCY: "must be a currency code of ISO 4217, such as USD",
    _ONE_LINE: "must be one line, without control characters",
    _SOME_LINE: "must be one line, not empty, without control characters",
    _LINES: "must hold no control characters",
}
"""Each pattern in words, for people."""


def _plain(value: Any) -> Any:
    """Check that a text is a plain decimal number. The limits of the field check the rest."""
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        raise ValueError(
            "must be a plain decimal number such as 19.90, at most 12 digits before the point"
        )
    return value


def _without_trailing_zeros(value: Any) -> Any:
    """Drop trailing zeros: a JSON number has no decimals of its own, 100 is often sent as 100.0."""
    if isinstance(value, float):
        value = Decimal(repr(value))
    if not isinstance(value, Decimal) or not value.is_finite():
        return value
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < _FINEST or value.adjusted() > _LARGEST:
        return value  # beyond every limit, and too long to be written out
    text = f"{value:f}"
    return Decimal(text.rstrip("0").rstrip(".") if "." in text else text)


def _number_or_text(places: int, least: dict[str, int]) -> WithJsonSchema:
    """Describe both forms that a sender may use. JSON Schema needs a branch for each type."""
    text = {"type": "string", "pattern": rf"^[0-9]{{1,12}}(\.[0-9]{{1,{places}}})?$"}
    return WithJsonSchema({"anyOf": [{"type": "number", **least}, text]}, mode="validation")


# Spaces at the ends are refused, because some systems trim ids before they compare them.
Id = Annotated[str, StringConstraints(pattern=_ID, max_length=128)]
Email = Annotated[str, StringConstraints(pattern=_EMAIL, max_length=100)]
Name = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=100)]
FullName = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=200)]
# As people write it: a number that no product accepts costs the number, and never the person.
Phone = Annotated[str, StringConstraints(pattern=_LINES, max_length=500)]
Code = Annotated[str, StringConstraints(pattern=_CODE, max_length=100)]
Word = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=100)]
Subject = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=1_000)]
Reason = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=500)]
TextLine = Annotated[str, StringConstraints(pattern=_ONE_LINE, max_length=2_000)]
# Zoho takes fewer characters in most places. The workers split long texts and cut nothing.
Text = Annotated[str, StringConstraints(pattern=_LINES, min_length=1, max_length=65_535)]
LongText = Annotated[str, StringConstraints(pattern=_LINES, min_length=1, max_length=1_500_000)]

Quantity = Annotated[int, Field(ge=1, le=1_000_000)]
Amount = Annotated[Decimal, Field(gt=0, max_digits=15, decimal_places=3)]
# An amount in a command. The model checks its decimals against its currency.
RequestedAmount = Annotated[
    Decimal,
    Field(gt=0, max_digits=15, decimal_places=3),
    BeforeValidator(_without_trailing_zeros),
    BeforeValidator(_plain),
    _number_or_text(3, {"exclusiveMinimum": 0}),
]
Rate = Annotated[
    Decimal,
    Field(ge=0, max_digits=15, decimal_places=6),
    BeforeValidator(_plain),
    _number_or_text(6, {"minimum": 0}),
]
InvoiceQuantity = Annotated[
    Decimal,
    Field(gt=0, max_digits=12, decimal_places=6),
    BeforeValidator(_plain),
    _number_or_text(6, {"exclusiveMinimum": 0}),
]
Currency = Annotated[str, StringConstraints(pattern=_CURRENCY)]  # ISO 4217
Page = Annotated[int, Field(ge=1, le=10_000)]

Day = Annotated[date, Field(ge=date(1990, 1, 1), le=date(2200, 1, 1))]
Instant = AwareDatetime
