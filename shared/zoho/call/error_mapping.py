"""From what an answer means to the error that decides what becomes of the message."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.errors import (
    IntegrationError,
    Misconfigured,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    ZohoRejected,
)
from shared.zoho import waits
from shared.zoho.call.known_answers import (
    LIMITS,
    MISCONFIGURED,
    OF_ONE_ROW,
    KnownAnswer,
    Meaning,
    row_for,
    row_for_code,
)
from shared.zoho.call.profile import ProductProfile
from shared.zoho.call.request import ZohoRequest
from shared.zoho.call.responses import ParsedResponse
from shared.zoho.quota.quota import QuotaFeedback


def meaning_of(profile: ProductProfile, answer: ParsedResponse) -> KnownAnswer:
    """Return the product's known answer that this one, which is not ok, matches."""
    if answer.codes_of_failed_rows and answer.status < 500:
        return row_for_code(profile.known_answers, answer.zoho_code)
    return row_for(profile.known_answers, answer.status, answer.zoho_code, answer.message)


def has_result_per_row(profile: ProductProfile, answer: ParsedResponse) -> bool:
    """Whether each row has its own result.

    Not when none went well for a reason that is no row's own (a right that is missing, a limit).
    """
    failed = answer.codes_of_failed_rows
    return len(failed) < len(answer.codes_of_rows) or any(
        row_for_code(profile.known_answers, code).meaning in OF_ONE_ROW for code in failed
    )


def feedback_of(
    profile: ProductProfile, row: KnownAnswer | None, headers: Mapping[str, str]
) -> QuotaFeedback:
    """Return what an answer says about the quota. `row` is given when it was refused.

    `X-Rate-Limit-*` are the day's (docs/zoho/finance.md §2.3).
    """
    left = _number(headers, *profile.credits_left_headers)
    limit = _number(headers, "X-Rate-Limit-Limit")
    resets_in_s = _within_a_day(_seconds(headers.get("X-Rate-Limit-Reset", "")))
    if row is None or row.meaning not in LIMITS:
        return QuotaFeedback(None, 0.0, limit, left, resets_in_s)
    if row.meaning is Meaning.CONCURRENCY_LIMIT and left == 0:
        # A snapshot of a rolling day, of which something is free again at any moment: probe soon.
        wait_s = _named_wait_s(row, headers) or waits.AFTER_SUSPECTED_DAY_LIMIT_S
        return QuotaFeedback(Meaning.DAY_LIMIT.value, wait_s, limit, left, resets_in_s)
    return QuotaFeedback(row.meaning.value, _wait_s(row, headers), limit, left, resets_in_s)


def error_for(
    request: ZohoRequest, row: KnownAnswer, answer: ParsedResponse, feedback: QuotaFeedback
) -> IntegrationError:
    """Turn a refusal of Zoho's into our error. Nothing else does."""
    product = request.operation.product
    what = f"{request.name}: {answer.status} {answer.zoho_code}".rstrip()
    if feedback.limit is not None:
        return RateLimited(
            what,
            retry_after_s=feedback.wait_s,
            product=product,
            limit=feedback.limit,
            zoho_code=answer.zoho_code,
        )
    if row.meaning is Meaning.PERMISSION and request.operation.of_one_record:
        # Zoho hides single records, by a sharing rule or a department. The others can be read.
        return _rejected(request, what, answer, code="zoho_forbidden")
    if request.operation.optional and row.meaning in (*MISCONFIGURED, Meaning.BAD_TOKEN):
        return _rejected(request, what, answer, code="zoho_forbidden")
    if row.meaning in MISCONFIGURED:
        return Misconfigured(what, product=product, cause=row.meaning.value, org=request.org)
    if row.meaning is Meaning.BAD_TOKEN:
        # Only ever seen by the message when a fresh token was refused as well.
        cause = "token" if row.if_again is None else row.if_again.value
        return Misconfigured(what, product=product, cause=cause, org=request.org)
    if row.meaning is Meaning.REJECTED:
        return _rejected(request, what, answer, code=row.code)
    if row.meaning is Meaning.NOT_YET:
        return Unavailable(what, retry_after_s=row.wait_s, code=row.code)
    if request.repeatable:
        return Unavailable(what, code="zoho_unavailable")
    return OutcomeUnknown(what, search_lag_s=request.operation.search_lag_s)


def _rejected(
    request: ZohoRequest, what: str, answer: ParsedResponse, *, code: str | None
) -> ZohoRejected:
    return ZohoRejected(
        what,
        product=request.operation.product,
        operation=request.operation.name,
        status=answer.status,
        zoho_code=answer.zoho_code,
        fields=answer.refused_fields,
        code=code,
    )


def _wait_s(row: KnownAnswer, headers: Mapping[str, str]) -> float:
    return _named_wait_s(row, headers) or waits.AFTER_LIMIT_S[row.meaning.value]


def _named_wait_s(row: KnownAnswer, headers: Mapping[str, str]) -> float | None:
    """Return Zoho's own time where it names one. `X-Rate-Limit-Reset` is the day's only."""
    named = _seconds(headers.get("Retry-After", ""))
    if named is None and row.meaning is Meaning.DAY_LIMIT:
        named = _seconds(headers.get("X-Rate-Limit-Reset", ""))
    return _within_a_day(named)


def _within_a_day(seconds: float | None) -> float | None:
    return seconds if seconds is not None and 0 < seconds <= waits.LONGEST_NAMED_S else None


def _seconds(text: str) -> float | None:
    """Seconds from now: a number, a moment in epoch seconds, or a date."""
    try:
        value = float(text)
    except ValueError:
        return _until(text)
    return value - time.time() if value > 1e9 else value


def _until(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - datetime.now(UTC)).total_seconds()


def _number(headers: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        text = headers.get(name, "").strip()
        if text.isdigit():
            return int(text)
    return None
