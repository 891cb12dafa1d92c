"""How many decimals money has: what is asked for may have no more, and what is told has as many."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

# Those of ISO 4217 that do not have two.
# Source: https://www.iso.org/iso-4217-currency-codes.html
_DECIMALS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def decimals_of(currency: str | None) -> int:
    """Digits after the point of an amount in this currency; 2 when it is not known."""
    return _DECIMALS.get(currency or "", 2)


def is_too_fine(amount: Decimal, currency: str | None) -> bool:
    """Whether the amount is written with more decimals than its currency has."""
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and -exponent > decimals_of(currency)


def as_money(amount: Decimal, currency: str | None) -> Decimal:
    """The amount as it is told: `19.00` for 19 dollars, `19` for 19 yen.

    Never rounded: what is finer than its currency (a unit price, a share of a tax) stays so.
    """
    told = amount.quantize(Decimal(1).scaleb(-decimals_of(currency)))
    return told if told == amount else amount.normalize()
