"""Convert Zoho's values to ours: exact ids, Decimal money, aware times.

Models of what Zoho sends ignore unknown fields, because Zoho may add some any day.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict


class ZohoModel(BaseModel):
    """A thing as Zoho describes it. Its ids are Zoho's: they are sealed before they are stored.

    It is read by Zoho's names, and by its own when it comes back from where it was stored.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    def __repr__(self) -> str:
        # Reprs end in logs and tracebacks, and this holds ids of Zoho's and personal data.
        return f"<{type(self).__name__}>"

    __str__ = __repr__


def _exact_text(value: Any) -> Any:
    # Ids have 18–19 digits: a float has already lost some of them, so it is refused.
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _none_if_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _exact_number(value: Any) -> Any:
    return Decimal(repr(value)) if isinstance(value, float) else _none_if_empty(value)


def _exact_text_or_none(value: Any) -> Any:
    return _none_if_empty(_exact_text(value))


def none_if_nothing(value: Any) -> Any:
    """`{}` and `[]` stand for what is not there."""
    return value or None


def _aware(value: Any) -> Any:
    """Times come as `2016-06-05T02:30:08-0700`, as ISO with `Z`, or as milliseconds in a string."""
    value = _none_if_empty(value)
    if isinstance(value, str) and value.isdigit() and len(value) > 10:
        return datetime.fromtimestamp(int(value) / 1000, UTC)
    if isinstance(value, int) and not isinstance(value, bool) and value > 10**11:
        return datetime.fromtimestamp(value / 1000, UTC)
    return value


def _utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


ZohoId = Annotated[str, BeforeValidator(_exact_text)]
MaybeId = Annotated[str | None, BeforeValidator(_exact_text_or_none)]
ZohoText = Annotated[str | None, BeforeValidator(_none_if_empty)]
ZohoMoney = Annotated[Decimal, BeforeValidator(_exact_number)]
MaybeZohoMoney = Annotated[Decimal | None, BeforeValidator(_exact_number)]
ZohoDay = Annotated[date | None, BeforeValidator(_none_if_empty)]
ZohoTime = Annotated[datetime | None, BeforeValidator(_aware), AfterValidator(_utc)]
