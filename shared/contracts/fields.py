"""Kinds of fields that contracts are made of, and their limits.

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
_PHONE = r"^[0-9A-Za-z+(][0-9A-Za-z+()./, -]*$"
_CURRENCY = r"^[A-Z]{3}$"
_ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
_SOME_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x1f\x7f\s][^\x00-\x1f\x7f]*$"
# Python's own reading of numbers would take 1_0, spaces, 1e5, and the digits of any script.
_PLAIN = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,30})?")
_FINEST = -30  # exponent of the last digit that is looked at
_LARGEST = 12  # exponent of the first
_LINES = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

FORMS = {
    _ID: "must be visible ASCII characters, with spaces only inside",
    _CODE: "must be visible ASCII characters, with spaces only inside",
    _EMAIL: "must be an email address",
    _PHONE: "must be a phone number",
    _CURRENCY: "must be a currency code of ISO 4217, such as USD",
    _ONE_LINE: "must be one line, without control characters",
    _SOME_LINE: "must be one line, not empty, without control characters",
    _LINES: "must hold no control characters",
}
"""What each pattern asks for, in words: patterns are for machines."""


def _plain(value: Any) -> Any:
    """A text must be a plain decimal number; what else there is to say, the limits say."""
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        raise ValueError(
            "must be a plain decimal number such as 19.90, at most 12 digits before the point"
        )
    return value


def _as_short_as_can_be(value: Any) -> Any:
    """A number of JSON has no decimals of its own: many a library writes 100 as 100.0."""
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
    """What a sender may write: JSON Schema cannot say it of one type."""
    text = {"type": "string", "pattern": rf"^[0-9]{{1,12}}(\.[0-9]{{1,{places}}})?$"}
    return WithJsonSchema({"anyOf": [{"type": "number", **least}, text]}, mode="validation")


# Spaces at the ends are refused: ids are compared for equality in places that trim.
Id = Annotated[str, StringConstraints(pattern=_ID, max_length=128)]
Email = Annotated[str, StringConstraints(pattern=_EMAIL, max_length=100)]
Name = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=100)]
FullName = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=200)]
Phone = Annotated[str, StringConstraints(pattern=_PHONE, max_length=50)]
Code = Annotated[str, StringConstraints(pattern=_CODE, max_length=100)]
Word = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=100)]
Subject = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=1_000)]
Reason = Annotated[str, StringConstraints(pattern=_SOME_LINE, max_length=500)]
TextLine = Annotated[str, StringConstraints(pattern=_ONE_LINE, max_length=2_000)]
# Zoho takes fewer characters in most places; the workers carry long texts on, nothing is cut.
Text = Annotated[str, StringConstraints(pattern=_LINES, min_length=1, max_length=65_535)]
LongText = Annotated[str, StringConstraints(pattern=_LINES, min_length=1, max_length=1_500_000)]

Quantity = Annotated[int, Field(ge=1, le=1_000_000)]
Amount = Annotated[Decimal, Field(gt=0, max_digits=15, decimal_places=3)]
# An amount in a command; its currency's own number of decimals is checked beside its currency.
AskedAmount = Annotated[
    Decimal,
    Field(gt=0, max_digits=15, decimal_places=3),
    BeforeValidator(_as_short_as_can_be),
    BeforeValidator(_plain),
    _number_or_text(3, {"exclusiveMinimum": 0}),
]
Rate = Annotated[
    Decimal,
    Field(ge=0, max_digits=15, decimal_places=6),
    BeforeValidator(_plain),
    _number_or_text(6, {"minimum": 0}),
]
Share = Annotated[  # a quantity on an invoice
    Decimal,
    Field(gt=0, max_digits=12, decimal_places=6),
    BeforeValidator(_plain),
    _number_or_text(6, {"exclusiveMinimum": 0}),
]
Currency = Annotated[str, StringConstraints(pattern=_CURRENCY)]  # ISO 4217
Page = Annotated[int, Field(ge=1, le=10_000)]

Day = Annotated[date, Field(ge=date(1990, 1, 1), le=date(2200, 1, 1))]
Instant = AwareDatetime
