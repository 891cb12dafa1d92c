"""Count the decimals of a currency, and write amounts with exactly that many."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

# The currencies of ISO 4217 whose number of decimals is not two.
# Source: https://www.iso.org/iso-4217-currency-codes.html
_DECIMALS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


def decimals_of(currency: str | None) -> int:
    """Return the digits after the point of an amount in this currency, 2 for an unknown one."""
    return _DECIMALS.get(currency or "", 2)


def has_excess_decimals(amount: Decimal, currency: str | None) -> bool:
    """Return whether the amount is written with more decimals than its currency has."""
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and -exponent > decimals_of(currency)


def as_money(amount: Decimal, currency: str | None) -> Decimal:
    """Return the amount in the form that is published: `19.00` for 19 dollars, `19` for 19 yen.

    It is never rounded. What is finer than its currency (a unit price, a part of a tax) stays so.
    """
    quantized = amount.quantize(Decimal(1).scaleb(-decimals_of(currency)))
    return quantized if quantized == amount else amount.normalize()
