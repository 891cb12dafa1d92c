"""What is told about each delivery: logs, metrics and tests are observers of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.messaging.delivery import Delivery
from shared.messaging.settlement import Settlement


@dataclass(frozen=True, slots=True)
class Settled:
    """One delivery and what became of it. `error` is what the handler raised, if it did."""

    delivery: Delivery
    settlement: Settlement
    duration_s: float
    error: BaseException | None = None


Observer = Callable[[Settled], None]
