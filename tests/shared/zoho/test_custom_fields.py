"""The two ways to name a custom field in a request of Billing or Books."""

import pytest

from shared.zoho.products.finance.custom_fields import name_in, other_form, usual_form


@pytest.mark.parametrize(
    ("configured", "usual", "api_name", "label"),
    [
        ("cf_app_user_id", "api_name", "cf_app_user_id", "App User Id"),
        ("App User Id", "label", "cf_app_user_id", "App User Id"),
    ],
)
def test_a_field_is_named_in_both_forms(
    configured: str, usual: str, api_name: str, label: str
) -> None:
    assert usual_form(configured) == usual
    assert name_in("api_name", configured) == api_name
    assert name_in("label", configured) == label
    assert {usual_form(configured), other_form(usual_form(configured))} == {"api_name", "label"}
