"""Hold the switches for behaviour that differs between organizations, or that no source settles."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Behaviour(BaseModel):
    """How this Zoho behaves. Drivers change it with `PUT /_sandbox/behaviour`."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    ignored_filters: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Query parameters, by product, that its lists do not know and so ignore."""

    maximum_lengths: dict[str, int] = Field(default_factory=dict)
    """Lengths of CRM's contact fields that an administrator has lowered, by API name."""

    refused_rows: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Rows of CRM's writes that are refused, by a text in the row: the answer, `{code, …}`."""

    replies_move_modified_time: bool = True
    """Whether mails and comments move a ticket's `modifiedTime`. No public source says so."""

    customer_fields_by: Literal["both", "api_name", "label"] = "both"
    """What names a custom field in Billing's requests about customers. Others are ignored."""

    clock_ahead_s: float = 0.0
    """By how much Zoho's clock is ahead of its clients', negative when it is behind."""

    def known_customer_fields(self, sent: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
        """Return the custom fields of a request that Billing takes."""
        known = ("api_name", "label") if self.customer_fields_by == "both" else ()
        return [f for f in sent or [] if any(f.get(n) for n in (*known, self.customer_fields_by))]

    def ignores(self, product: str, name: str) -> bool:
        """Return whether the product's lists ignore this query parameter."""
        return name in self.ignored_filters.get(product, ())
