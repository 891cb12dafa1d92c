"""Names of time zones, as Zoho's finance products give them."""

import pytest

from shared.zoho.products.books.time_zones import zone_of


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("America/Los_Angeles", "America/Los_Angeles"),
        ("PST", "America/Los_Angeles"),
        ("IST", "Asia/Kolkata"),
        ("Asia/Calcutta", "Asia/Calcutta"),
        ("EST", "EST"),
    ],
)
def test_a_name_of_zohos_is_a_time_zone(name: str, key: str) -> None:
    zone = zone_of(name)

    assert zone is not None
    assert zone.key == key


@pytest.mark.parametrize("name", [None, "", "Mars/Olympus_Mons", "../etc/passwd", "Pacific Time"])
def test_another_name_is_no_time_zone(name: str | None) -> None:
    assert zone_of(name) is None
