"""Record the outcome of one HTTP attempt and turn it into a reply or an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from shared.errors import IntegrationError, OutcomeUnknown, Unavailable, ZohoRejected
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.error_mapping import error_for
from shared.zoho.call.error_tables.known_answers import KnownAnswer, Meaning
from shared.zoho.call.operation import Called, Operation
from shared.zoho.call.responses import ParsedResponse
from shared.zoho.call.transport import NotWritten
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import QuotaFeedback

# A longer wait is the message's own affair.
_WAIT_IN_PLACE_S: Final = 5.0
# Even a good token may be killed meanwhile: at most one mint in this time is spent on finding out.
_GOOD_S: Final = 300.0

CallObserver = Callable[[Called], None]
Params = Mapping[str, str | int]


class TryAgain(Exception):
    """Surely not done (or a read), and soon worth another try. `error` if no try is left."""

    def __init__(self, error: IntegrationError, wait_s: float) -> None:
        super().__init__(error.reason)
        self.error = error
        self.wait_s = wait_s


@dataclass
class ZohoRequest:
    """One call as its caller asked for it, and how far its tries have come."""

    operation: Operation
    path: str
    org: str
    lane: Priority
    params: Params
    json: Any
    headers: Mapping[str, str]
    attempt: int = 0
    token_replaced: bool = False

    @property
    def repeatable(self) -> bool:
        return self.operation.repeatable or self.operation.reads

    @property
    def name(self) -> str:
        return f"{self.operation.product} {self.operation.name}"


class AttemptRecorder:
    """`first_wait_s`: before the second try where Zoho names no time. Doubles."""

    def __init__(
        self, breakers: Breakers, observers: Sequence[CallObserver], first_wait_s: float
    ) -> None:
        self._breakers = breakers
        self._observers = observers
        self._first_wait_s = first_wait_s
        # By organization: the token (its hash) that is good for sure, and until when that is held.
        self._good: dict[str, tuple[str, float]] = {}

    def meant(self, request: ZohoRequest, sha256: str, row: KnownAnswer) -> KnownAnswer:
        """The row, or what it means once it is known that the token (`sha256`) is good.

        It is known when the token was new and was refused as the old one. The next operations that
        are refused this way then cost no mint.
        """
        if row.if_again is None:
            return row
        if request.token_replaced:
            self._good[request.org] = (sha256, time.monotonic() + _GOOD_S)
        good, until = self._good.get(request.org, ("", 0.0))
        known = good == sha256 and time.monotonic() < until
        return replace(row, meaning=row.if_again) if known else row

    def answered(
        self,
        request: ZohoRequest,
        row: KnownAnswer | None,
        answer: ParsedResponse,
        told: QuotaFeedback,
        duration_s: float,
    ) -> None:
        """There is an answer, `row` when it is no success."""
        outcome = told.limit or (row.meaning.value if row else "ok")
        self._tell(request, outcome, duration_s, answer.status, answer.zoho_code, told.credits_left)

    def succeeded(self, request: ZohoRequest) -> None:
        product, name = request.operation.product, request.operation.name
        self._breakers.succeeded(request.org, product, name, lane=request.lane)

    def token_refused(self, request: ZohoRequest) -> TryAgain:
        """A new token is at hand. The old one says nothing about the product."""
        request.token_replaced = True
        self._breakers.undecided(request.org, request.operation.product, request.operation.name)
        return TryAgain(Unavailable(f"{request.name}: the token was refused"), 0.0)

    def refused(
        self, request: ZohoRequest, row: KnownAnswer, answer: ParsedResponse, told: QuotaFeedback
    ) -> Exception:
        """Zoho answered, and the answer is no success."""
        operation = request.operation
        error = error_for(
            row,
            product=operation.product,
            operation=operation.name,
            org=request.org,
            status=answer.status,
            zoho_code=answer.zoho_code,
            repeatable=request.repeatable,
            search_lag_s=operation.search_lag_s,
            told=told,
        )
        self._learn(request, error)
        if told.limit is not None and told.wait_s < _WAIT_IN_PLACE_S:
            return TryAgain(error, told.wait_s)
        if row.meaning is Meaning.OUTAGE and operation.reads:
            return TryAgain(error, self._wait_s(request))
        return error

    def not_written(self, request: ZohoRequest, error: NotWritten, duration_s: float) -> Exception:
        """Nothing reached Zoho."""
        if error.too_late:
            self._tell(request, "too_late", duration_s)
            return Unavailable(f"{request.name}: its last moment had passed", code="too_late")
        self._tell(request, "not_written", duration_s)
        unreachable = Unavailable(f"{request.name}: no connection", code="zoho_unreachable")
        self._learn(request, unreachable)
        return TryAgain(unreachable, self._wait_s(request))

    def lost(self, request: ZohoRequest, duration_s: float) -> Exception:
        """It was written, or may have been, and no answer came."""
        self._tell(request, "lost", duration_s)
        what = f"{request.name}: no answer"
        if not request.repeatable:
            unknown = OutcomeUnknown(what, search_lag_s=request.operation.search_lag_s)
            self._learn(request, unknown)
            return unknown
        unavailable = Unavailable(what, code="zoho_unavailable")
        self._learn(request, unavailable)
        if request.operation.reads:
            return TryAgain(unavailable, self._wait_s(request))
        return unavailable  # its state is read before it is tried again

    def _learn(self, request: ZohoRequest, error: IntegrationError) -> None:
        product, name = request.operation.product, request.operation.name
        if isinstance(error, ZohoRejected):
            self.succeeded(request)  # a no of Zoho's own: calls get through
        elif isinstance(error, OutcomeUnknown):
            self._breakers.lost(request.org, product, name)
        else:
            self._breakers.failed(request.org, product, name, error)

    def _tell(
        self,
        request: ZohoRequest,
        outcome: str,
        duration_s: float,
        status: int = 0,
        zoho_code: str = "",
        quota_left: int | None = None,
    ) -> None:
        called = Called(
            org=request.org,
            product=request.operation.product,
            operation=request.operation.name,
            outcome=outcome,
            status=status,
            zoho_code=zoho_code,
            duration_s=duration_s,
            attempt=request.attempt,
            quota_left=quota_left,
        )
        for observe in self._observers:
            observe(called)

    def _wait_s(self, request: ZohoRequest) -> float:
        return float(self._first_wait_s * 2 ** (request.attempt - 1))
