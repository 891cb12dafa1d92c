"""Define an operation of Zoho's, its reply, and the record of one attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from shared.zoho import waits
from shared.zoho.quota.call import Call
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.reservations import priority_of_calls


@dataclass(frozen=True)
class Operation:
    """One operation of Zoho's, as our typed clients declare it.

    `repeatable` is the declaring client's claim that doing it twice leaves the state of once: with
    it a lost answer is `Unavailable`, without it `OutcomeUnknown`. A GET is always repeatable.
    `weight` is what it costs of the day's credits. A call may have another.
    `heavy_above`: calls of a greater weight count against the product's smaller limit of calls in
    flight too. With 0 every call does.
    `search_lag_s`: how long after a lost answer a search surely shows what was done.
    `rows`: the answer holds one result per row sent. Rows that failed come back in their place
    instead of raising, whatever the HTTP status, unless all failed for a reason that concerns the
    whole call.
    `of_one_record`: it reads one record, which may be hidden while the others are not. That it is
    forbidden then says nothing of the next one.
    `optional`: an organization may lack it. That Zoho refuses it for want of a right is an answer,
    and nobody has to correct anything.
    `moves_money`: it is done again only on positive evidence that the first did not happen (see
    `Effects`).
    """

    product: str
    name: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    repeatable: bool = False
    weight: int = 1
    heavy_above: int | None = None
    timeout_s: float = 20.0
    search_lag_s: float = waits.SEARCH_LAG_S
    accept: Literal["json", "pdf"] = "json"
    rows: bool = False
    of_one_record: bool = False
    optional: bool = False
    moves_money: bool = False

    def call(
        self,
        org: str,
        priority: Priority,
        *,
        weight: int | None = None,
        timeout_s: float | None = None,
    ) -> Call:
        """Return one call of this operation, at its own weight and timeout by default.

        Made for a leased message, it has the priority of the message's line: what stands behind it
        may be more urgent than the message itself.
        """
        cost = self.weight if weight is None else weight
        return Call(
            org,
            self.product,
            self.name,
            priority_of_calls(priority),
            weight=cost,
            heavy=self.heavy_above is not None and cost > self.heavy_above,
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
        )

    @property
    def reads(self) -> bool:
        return self.method == "GET"


@dataclass(frozen=True)
class Reply:
    """Zoho's answer to a call that succeeded.

    `body` is the JSON object: `{}` when there was none (204), a top-level array under `data`.
    Numbers with a fraction are `Decimal`. Numbers of 15 digits and more are ids and come as `str`.
    `content` is the document when the operation accepts a PDF.
    """

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass(frozen=True)
class Called:
    """One try of one call, for the log and the metrics.

    `outcome`: ok, a limit's name, the name of what is misconfigured, rejected, outage, lost,
    not_written, … `status` is 0 when there was no answer. `quota_left` of the day, when Zoho said.
    """

    org: str
    product: str
    operation: str
    outcome: str
    status: int
    zoho_code: str
    duration_s: float
    attempt: int
    quota_left: int | None
