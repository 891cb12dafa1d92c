"""Name custom fields of Billing and Books: in requests, and as a record shows them."""

from __future__ import annotations

from typing import Literal

from shared.zoho.products.setup_reader import ZohoRecord

CustomFieldForm = Literal["api_name", "label"]
"""What names a custom field in a request."""


def usual_form(field: str) -> CustomFieldForm:
    """The form of the name that is configured: `cf_app_user_id` is an API name."""
    return "api_name" if field.startswith("cf_") else "label"


def other_form(form: CustomFieldForm) -> CustomFieldForm:
    return "label" if form == "api_name" else "api_name"


def name_in(form: CustomFieldForm, field: str) -> str:
    """The name of the field in this form. Zoho makes the API name of a label: `App User Id`."""
    if usual_form(field) == form:
        return field
    if form == "label":
        return field.removeprefix("cf_").replace("_", " ").title()
    return "cf_" + field.strip().lower().replace(" ", "_")


def names_of_custom_fields(record: ZohoRecord) -> set[str]:
    return {
        str(field[name])
        for field in record.get("custom_fields") or []
        for name in ("api_name", "label")
        if field.get(name)
    }
