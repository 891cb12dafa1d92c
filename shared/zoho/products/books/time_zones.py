"""Read the names that Zoho's finance products give to time zones.

Most are IANA names. Older organizations have Java's three-letter names, such as the `PST` of
Zoho's own sample (https://www.zoho.com/books/api/v3/organizations/). Source of the letters: Java's
`ZoneId.SHORT_IDS`. `EST`, `MST` and `HST` are IANA names too, with the same fixed offsets.
"""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SHORT_NAMES: Final = {
    "ACT": "Australia/Darwin",
    "AET": "Australia/Sydney",
    "AGT": "America/Argentina/Buenos_Aires",
    "ART": "Africa/Cairo",
    "AST": "America/Anchorage",
    "BET": "America/Sao_Paulo",
    "BST": "Asia/Dhaka",
    "CAT": "Africa/Harare",
    "CNT": "America/St_Johns",
    "CST": "America/Chicago",
    "CTT": "Asia/Shanghai",
    "EAT": "Africa/Addis_Ababa",
    "ECT": "Europe/Paris",
    "IET": "America/Indiana/Indianapolis",
    "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo",
    "MIT": "Pacific/Apia",
    "NET": "Asia/Yerevan",
    "NST": "Pacific/Auckland",
    "PLT": "Asia/Karachi",
    "PNT": "America/Phoenix",
    "PRT": "America/Puerto_Rico",
    "PST": "America/Los_Angeles",
    "SST": "Pacific/Guadalcanal",
    "VST": "Asia/Ho_Chi_Minh",
}


def zone_of(name: str | None) -> ZoneInfo | None:
    """The time zone of this name; None when there is no such zone."""
    if not name:
        return None
    try:
        return ZoneInfo(_SHORT_NAMES.get(name.upper(), name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
