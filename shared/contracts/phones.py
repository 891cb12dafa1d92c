"""Normalize phone numbers as people write them, where that is certain."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_EXTENSION: Final = re.compile(
    r"(?<=[0-9)])[\s,;]*(?:#|ext(?:ension)?[.:=]?|x)\s*([0-9]{1,10})$", re.IGNORECASE
)
_HYPHENS: Final = dict.fromkeys(map(ord, "‐‑‒–—―−/"), "-")
# A plus, then digits in groups, perhaps in brackets, a vanity number's letters, and an extension.
_NUMBER: Final = re.compile(r"\+?[0-9(][0-9A-Z(). -]*[0-9A-Z)](?: x[0-9]{1,10})?")
_FEWEST_DIGITS, _MOST_DIGITS = 3, 20


def normalize_phone(text: str) -> str | None:
    """Return the number in ASCII: groups of digits, split by one space, dot or hyphen.

    None when it is not certain what number is meant. `tel:`, invisible marks, which phones copied
    from address books carry, and digits of other scripts are certain. So is an extension, which
    becomes `x123`.
    """
    visible = "".join(char for char in text if unicodedata.category(char) != "Cf")
    plain = "".join(_ascii(char) for char in visible).translate(_HYPHENS).strip()
    plain = re.sub(r"^tel:", "", plain, flags=re.IGNORECASE)
    plain = _EXTENSION.sub(r" x\1", plain)
    plain = re.sub(r"\s+", " ", plain)
    plain = re.sub(r" ?([-.]) ?", r"\1", plain)
    plain = re.sub(r"\( ?(\d+) ?\)", r"(\1)", plain)
    digits = sum(char.isdigit() for char in plain)
    balanced = re.sub(r"\(\d+\)", "", plain)
    certain = (
        _NUMBER.fullmatch(plain)
        and _FEWEST_DIGITS <= digits <= _MOST_DIGITS
        and not set("()") & set(balanced)
        and not re.search(r"[-. ]{2}", plain)
    )
    return plain if certain else None


def _ascii(char: str) -> str:
    digit = unicodedata.digit(char, None)
    if digit is not None and char.isdecimal():
        return str(digit)
    return unicodedata.normalize("NFKC", char)
