"""Record the outcome of one HTTP attempt and turn it into a reply or an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from shared.errors import IntegrationError, OutcomeUnknown, Unavailable, ZohoRejected
from shared.zoho import waits
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.error_mapping import error_for
from shared.zoho.call.known_answers import KnownAnswer, Meaning
from shared.zoho.call.operation import Called
from shared.zoho.call.request import ZohoRequest
from shared.zoho.call.responses import ParsedResponse
from shared.zoho.call.transport import NotWritten
from shared.zoho.quota.quota import QuotaFeedback

CallObserver = Callable[[Called], None]


class TryAgain(Exception):
    """Surely not done (or a read), and soon worth another try. `error` if no try is left."""

    def __init__(self, error: IntegrationError, wait_s: float) -> None:
        super().__init__(error.reason)
        self.error = error
        self.wait_s = wait_s


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
            self._good[request.org] = (sha256, time.monotonic() + waits.TOKEN_IS_GOOD_S)
        good, until = self._good.get(request.org, ("", 0.0))
        known = good == sha256 and time.monotonic() < until
        return replace(row, meaning=row.if_again) if known else row

    def answered(
        self,
        request: ZohoRequest,
        row: KnownAnswer | None,
        answer: ParsedResponse,
        feedback: QuotaFeedback,
        duration_s: float,
    ) -> None:
        """Record that there is an answer. `row` is given when it is no success."""
        outcome = feedback.limit or (row.meaning.value if row else "ok")
        self._record(request, outcome, duration_s, answer, feedback.credits_left)

    def succeeded(self, request: ZohoRequest) -> None:
        self._breakers.succeeded(request.call)

    def token_refused(self, request: ZohoRequest) -> TryAgain:
        """Return what tries again with the new token. The old one says nothing of the product."""
        request.token_replaced = True
        self._breakers.undecided(request.call)
        return TryAgain(Unavailable(f"{request.name}: the token was refused"), 0.0)

    def refused(
        self,
        request: ZohoRequest,
        row: KnownAnswer,
        answer: ParsedResponse,
        feedback: QuotaFeedback,
    ) -> Exception:
        """Return the error of an answer that is no success, or what tries again."""
        error = error_for(request, row, answer, feedback)
        self._learn(request, error)
        if feedback.limit is not None and feedback.wait_s < waits.IN_PLACE_S:
            return TryAgain(error, feedback.wait_s)
        if row.meaning is Meaning.OUTAGE and request.operation.reads:
            return TryAgain(error, self._wait_s(request))
        return error

    def not_written(self, request: ZohoRequest, error: NotWritten, duration_s: float) -> Exception:
        """Return the error when nothing reached Zoho, or what tries again."""
        if error.too_late:
            self._record(request, "too_late", duration_s)
            return Unavailable(f"{request.name}: its last moment had passed", code="too_late")
        self._record(request, "not_written", duration_s)
        unreachable = Unavailable(f"{request.name}: no connection", code="zoho_unreachable")
        self._learn(request, unreachable)
        return TryAgain(unreachable, self._wait_s(request))

    def lost(self, request: ZohoRequest, duration_s: float) -> Exception:
        """Return the error when it was written, or may have been, and no answer came."""
        self._record(request, "lost", duration_s)
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
        if isinstance(error, ZohoRejected):
            self.succeeded(request)  # a no of Zoho's own: calls get through
        elif isinstance(error, OutcomeUnknown):
            self._breakers.lost(request.call)
        else:
            self._breakers.failed(request.call, error)

    def _record(
        self,
        request: ZohoRequest,
        outcome: str,
        duration_s: float,
        answer: ParsedResponse | None = None,
        quota_left: int | None = None,
    ) -> None:
        called = Called(
            org=request.org,
            product=request.operation.product,
            operation=request.operation.name,
            outcome=outcome,
            status=answer.status if answer else 0,
            zoho_code=answer.zoho_code if answer else "",
            duration_s=duration_s,
            attempt=request.attempt,
            quota_left=quota_left,
        )
        for observe in self._observers:
            observe(called)

    def _wait_s(self, request: ZohoRequest) -> float:
        return float(self._first_wait_s * 2 ** (request.attempt - 1))
