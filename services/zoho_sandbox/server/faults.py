"""Keep the faults that drivers order: kind, the requests concerned, and how often."""

from __future__ import annotations

import asyncio
import random
import re
from dataclasses import dataclass, field
from typing import Any

import orjson

# Refused before token and limits are checked.
REFUSALS = frozenset(
    {
        "minute_limit",
        "day_limit",
        "concurrency",
        "html",
        "html_400",
        "pattern_not_matched",
        "ok_with_error",
        "reset_before",
        "invalid_token",
        "scope_mismatch",
        "wrong_organization",
        "user_disabled",
        "answer",
    }
)
# Applied to admitted requests, which keep their place among the calls in flight meanwhile.
DELAYS = frozenset({"slow", "hold", "hold_reset"})
AFTERS = frozenset({"reset_after", "timeout_after", "hold_after", "html_after"})
_STATUS = re.compile(r"status:[1-5]\d\d")


class UnknownFault(ValueError):
    """The driver ordered a kind of fault that does not exist."""


@dataclass(frozen=True)
class FaultAnswer:
    """The exact answer of a fault of the kind `answer`."""

    status: int
    body: bytes
    content_type: str
    headers: dict[str, str]

    @classmethod
    def of(cls, order: dict[str, Any]) -> FaultAnswer:
        """Read `status`, `body` (a text, or JSON to be written), `content_type?`, `headers?`.

        Raises: UnknownFault: no status, or no body.
        """
        try:
            status, body = int(order["status"]), order["body"]
        except (KeyError, TypeError, ValueError) as error:
            raise UnknownFault("an answer needs a status and a body") from error
        is_text = isinstance(body, str)
        content_type = "text/html" if is_text else "application/json"
        return cls(
            status,
            body.encode() if is_text else orjson.dumps(body),
            str(order.get("content_type", content_type)),
            {str(name): str(value) for name, value in (order.get("headers") or {}).items()},
        )


@dataclass
class Fault:
    """One ordered fault. `times` counts down. None never ends. The first `skip` calls pass."""

    id: int
    product: str
    kind: str
    operation: str | None = None
    body_contains: bytes = b""
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    delay_s: float | None = None
    answer: FaultAnswer | None = None
    released: asyncio.Event = field(default_factory=asyncio.Event)
    hits: int = 0

    @property
    def refuses(self) -> bool:
        """Whether the request is refused before token and limits are checked."""
        return self.kind not in DELAYS | AFTERS

    @property
    def after(self) -> bool:
        """Whether the handler runs before the fault."""
        return self.kind in AFTERS

    @property
    def status(self) -> int:
        return int(self.kind.partition(":")[2])

    def concerns(self, product: str, operation: str, method: str, path: str, body: bytes) -> bool:
        """Return whether the fault is for this request. `path` has no product's prefix."""
        if self.product not in (product, "*") or self.body_contains not in body:
            return False
        if self.operation is None or self.operation == operation:
            return True
        wanted_method, _, wanted_path = self.operation.partition(" ")
        return bool(wanted_path) and wanted_method == method and path.startswith(wanted_path)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "product": self.product,
            "kind": self.kind,
            "operation": self.operation,
            "body_contains": self.body_contains.decode(),
            "times": self.times,
            "skip": self.skip,
            "probability": self.probability,
            "delay_s": self.delay_s,
            "hits": self.hits,
        }


class Faults:
    """The faults in force, oldest first. The first one that concerns a request applies."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        # Used up, though requests may still be held by them.
        self._spent: list[Fault] = []
        self._next_id = 1

    def add(self, order: dict[str, Any]) -> Fault:
        """Add a fault from the body that the admin API receives.

        Raises: UnknownFault: there is no such kind, or no product is named.
        """
        kind = str(order.get("kind", ""))
        if kind == "none":
            return self._lift(order)
        if kind not in REFUSALS | DELAYS | AFTERS and not _STATUS.fullmatch(kind):
            raise UnknownFault(f"unknown kind of fault: {kind!r}")
        if not order.get("product"):
            raise UnknownFault("a fault needs a product (accounts, billing, books, crm, desk or *)")
        times = order.get("times")
        fault = Fault(
            id=self._next_id,
            product=str(order["product"]),
            kind=kind,
            operation=order.get("operation"),
            body_contains=str(order.get("body_contains") or "").encode(),
            times=None if times is None else int(times),
            skip=int(order.get("skip") or 0),
            probability=float(order.get("probability", 1.0)),
            delay_s=None if order.get("delay_s") is None else float(order["delay_s"]),
            answer=FaultAnswer.of(order) if kind == "answer" else None,
        )
        self._next_id += 1
        self._active.append(fault)
        return fault

    def _lift(self, order: dict[str, Any]) -> Fault:
        """Remove the faults of this product and operation, and release the requests they hold."""
        lifted = Fault(0, str(order.get("product")), "none", order.get("operation"))
        for orders in (self._active, self._spent):
            for fault in [f for f in orders if _same_target(f, lifted)]:
                orders.remove(fault)
                fault.released.set()
        return lifted

    def take(
        self,
        product: str,
        operation: str,
        method: str,
        path: str,
        body: bytes,
        *,
        before_checks: bool,
    ) -> Fault | None:
        """Return the fault for this request, if any, and count it as used once."""
        for fault in self._active:
            if fault.refuses != before_checks:
                continue
            if not fault.concerns(product, operation, method, path, body):
                continue
            if fault.probability < 1.0 and random.random() >= fault.probability:  # noqa: S311
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            fault.hits += 1
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._active.remove(fault)
                    self._spent.append(fault)
            return fault
        return None

    def clear(self) -> None:
        """Remove all faults and release every held request."""
        for fault in (*self._active, *self._spent):
            fault.released.set()
        self._active.clear()
        self._spent.clear()

    def as_json(self) -> list[dict[str, Any]]:
        return [fault.as_json() for fault in self._active]


def _same_target(fault: Fault, other: Fault) -> bool:
    return (fault.product, fault.operation) == (other.product, other.operation)
