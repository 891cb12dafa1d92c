"""Name the custom fields that a record of Billing or Books shows."""

from __future__ import annotations

from shared.zoho.products.setup_reader import ZohoRecord


def names_of_custom_fields(record: ZohoRecord) -> set[str]:
    return {
        str(field[name])
        for field in record.get("custom_fields") or []
        for name in ("api_name", "label")
        if field.get(name)
    }
