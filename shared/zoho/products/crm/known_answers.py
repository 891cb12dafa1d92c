"""CRM: a flat error `{code, message, status}`, or one result per row sent, in order, under `data`.

Sources: docs/zoho/crm.md §1.3 and §1.5.
"""

from __future__ import annotations

from typing import Final

from shared.zoho import waits
from shared.zoho.call.known_answers import NOT_JSON, KnownAnswer, Meaning

KNOWN_ANSWERS: Final = (
    # One answer for two limits and no Retry-After: first taken for concurrency. The ledger makes
    # it the day's when it does not end (`waits.DAY_LIMIT_SUSPECTED_AFTER_S`).
    KnownAnswer(429, "TOO_MANY_REQUESTS", Meaning.CONCURRENCY_LIMIT, "1.5"),
    KnownAnswer(429, "RATE_LIMIT_EXCEEDED", Meaning.CONCURRENCY_LIMIT, "1.3"),
    KnownAnswer(400, NOT_JSON, Meaning.MINUTE_LIMIT, "1.5: the front door's limit on abuse"),
    KnownAnswer(None, "INTERNAL_ERROR", Meaning.OUTAGE, "1.3"),
    KnownAnswer(401, "INVALID_TOKEN", Meaning.BAD_TOKEN, "1.3"),
    KnownAnswer(401, "AUTHENTICATION_FAILURE", Meaning.BAD_TOKEN, "1.3"),
    KnownAnswer(401, "OAUTH_SCOPE_MISMATCH", Meaning.SCOPE, "1.3"),
    KnownAnswer(None, "NO_PERMISSION", Meaning.PERMISSION, "1.3"),
    KnownAnswer(None, "AUTHORIZATION_FAILED", Meaning.PERMISSION, "1.3"),
    KnownAnswer(None, "LICENSE_LIMIT_EXCEEDED", Meaning.LICENCE, "1.3"),
    KnownAnswer(None, "NOT_ALLOWED", Meaning.LICENCE, "1.3"),
    KnownAnswer(
        412,
        "ALREADY_MODIFIED",
        Meaning.NOT_YET,
        "1.3",
        wait_s=waits.AFTER_CHANGED_MEANWHILE_S,
        code="already_modified",
    ),
    KnownAnswer(
        None,
        "RECORD_LOCKED",
        Meaning.NOT_YET,
        "1.3",
        wait_s=waits.AFTER_RECORD_LOCKED_S,
        code="record_locked",
    ),
    KnownAnswer(None, "DUPLICATE_DATA", Meaning.REJECTED, "1.3", code="zoho_duplicate"),
    KnownAnswer(404, "INVALID_URL_PATTERN", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "INVALID_DATA", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "MANDATORY_NOT_FOUND", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "MULTIPLE_OR_MULTI_ERRORS", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "DEPENDENT_FIELD_MISSING", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "DEPENDENT_MISMATCH", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "EXPECTED_FIELD_MISSING", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "AMBIGUITY_DURING_PROCESSING", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "MAPPING_MISMATCH", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "PATTERN_NOT_MATCHED", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "REQUIRED_PARAM_MISSING", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "LIMIT_EXCEEDED", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "LIMIT_REACHED", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "INVALID_MODULE", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "INVALID_REQUEST_METHOD", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "NOT_APPROVED", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "RECORD_IN_BLUEPRINT", Meaning.REJECTED, "1.3"),
    KnownAnswer(None, "CONVERTED_RECORD", Meaning.REJECTED, "1.3"),
)
