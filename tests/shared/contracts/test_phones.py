"""Test how phone numbers are normalized."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.phones import normalize_phone
from shared.zoho.products.crm.models import fits_phone


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+49 30 1234567", "+49 30 1234567"),
        ("925-921-9201 #123", "925-921-9201 x123"),
        ("925.921.9201 ext. 123", "925.921.9201 x123"),
        ("(925) 921-9201x7", "(925) 921-9201 x7"),
        ("\u202a+1 925 921 9201\u202c", "+1 925 921 9201"),
        ("tel:+1-925-921-9201", "+1-925-921-9201"),
        ("tel:+1-925-921-9201;ext=12", "+1-925-921-9201 x12"),
        ("٠١٢٣٤٥٦٧٨٩", "0123456789"),
        ("+\uff14\uff19 30 1234567", "+49 30 1234567"),
        ("30/1234", "30-1234"),
        ("030 \u2013 1234", "030-1234"),
        ("030\u00a01234\t567", "030 1234 567"),
        ("+49 (0)30 1234567", "+49 (0)30 1234567"),
        ("1-800-FLOWERS", "1-800-FLOWERS"),
        ("call  me // maybe", None),
        ("(030 123", None),
        ("12", None),
        ("030 1234 or 030 5678", None),
        ("+49 30 1234567, +49 30 7654321", None),
        ("a@example.com", None),
        ("1" * 21, None),
        ("", None),
    ],
)
def test_a_number_is_kept_where_it_is_certain(written: str, number: str | None) -> None:
    assert normalize_phone(written) == number


@given(st.text(max_size=60))
def test_whatever_people_write_the_result_is_none_or_fits_crm(text: str) -> None:
    number = normalize_phone(text)
    assert number is None or len(number) > 30 or fits_phone(number)
    assert number is None or normalize_phone(number) == number
