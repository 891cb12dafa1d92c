"""Describe a call to those who decide whether it may be made now: the ledger and the breakers."""

from __future__ import annotations

from dataclasses import dataclass

from shared.zoho.quota.priority import Priority


@dataclass(frozen=True)
class Call:
    """One call to Zoho, from the client that wants it to the ledger that grants it.

    `operation` is the operation's name. `weight` is its price in credits of the day. A `heavy` call
    counts against the smaller limit of calls in flight too, where there is one. `timeout_s` is how
    long it may take once it is written.
    """

    org: str
    product: str
    operation: str
    priority: Priority
    weight: int = 1
    heavy: bool = False
    timeout_s: float = 20.0
