"""State the outcome of each known answer, as it is seen from outside a running worker.

By hand, not from the tables: a row that is new, or changed, has to be thought about here too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from shared.zoho.call.known_answers import NOT_JSON, KnownAnswer

# How long a limit lasts: less than 5 s would be waited in place.
SOON_S: Final = 5

Key = tuple[int | None, str | None, str]


@dataclass(frozen=True)
class Case:
    """One answer and what becomes of the message.

    `status`: sent, where the row leaves it open. `settlement`, `outcome`: as the metrics name them.
    `code`: of the dead letter. `cause`: the breaker that opens. `once`: said once, and then all is
    well, for what is tried again in place.
    """

    status: int
    settlement: str
    outcome: str
    code: str = ""
    cause: str = ""
    once: bool = False
    headers: dict[str, str] = field(default_factory=dict)


def key_of(row: KnownAnswer) -> Key:
    return (row.status, row.zoho_code, row.quotes)


def rejected(status: int, code: str = "zoho_rejected") -> Case:
    return Case(status, "dead_letter", "rejected", code=code)


def misconfigured(status: int, cause: str, outcome: str | None = None) -> Case:
    return Case(status, "wait_for_person", outcome or cause, cause=cause)


def limited(limit: str, status: int = 429, header: str = "Retry-After") -> Case:
    return Case(status, "postpone", limit, cause=limit, headers={header: str(SOON_S)})


# A second's wait, in place. Then it is done.
BUSY: Final = Case(429, "done", "concurrency", once=True)


def finance(outage: Case) -> dict[Key, Case]:
    """`outage`: what an answer comes to that leaves open whether it was done."""
    return {
        (None, "44", ""): limited("minute"),
        (None, "45", ""): limited("day", header="X-Rate-Limit-Reset"),
        (None, "1070", ""): BUSY,
        (None, "6018", ""): misconfigured(200, "disabled_user"),
        (None, "6041", ""): misconfigured(401, "organization"),
        (401, "57", ""): misconfigured(401, "scope"),
        (None, "57", ""): misconfigured(200, "scope"),
        (400, "2", "organization_id"): misconfigured(400, "organization"),
        (401, "14", ""): misconfigured(401, "token"),
        (None, "INVALID_OAUTHTOKEN", ""): misconfigured(401, "token"),
        (404, "1002", ""): rejected(404, "zoho_not_found"),
        (500, "1000", ""): outage,
        (None, "1000", "internal error"): outage,
        (None, "1000", ""): rejected(200),
        (None, "1001", ""): rejected(400, "zoho_duplicate"),
        (None, "3062", ""): rejected(400, "zoho_duplicate"),
        (None, "1038", ""): rejected(400),
        (None, "2", ""): rejected(400),
        (None, "5", ""): rejected(404),
        (None, "37", ""): rejected(405),
    }


# A write that may have been done is only looked for. A read is tried again.
BILLING: Final = finance(Case(500, "reconcile", "outage"))
BOOKS: Final = finance(Case(500, "retry", "outage"))

CRM: Final[dict[Key, Case]] = {
    (429, "TOO_MANY_REQUESTS", ""): BUSY,
    (429, "RATE_LIMIT_EXCEEDED", ""): BUSY,
    (400, NOT_JSON, ""): limited("minute", 400),
    (None, "INTERNAL_ERROR", ""): Case(200, "reconcile", "outage"),
    (401, "INVALID_TOKEN", ""): misconfigured(401, "token"),
    (401, "AUTHENTICATION_FAILURE", ""): misconfigured(401, "token"),
    (401, "OAUTH_SCOPE_MISMATCH", ""): misconfigured(401, "scope"),
    (None, "NO_PERMISSION", ""): misconfigured(403, "permission"),
    (None, "AUTHORIZATION_FAILED", ""): misconfigured(400, "permission"),
    (None, "LICENSE_LIMIT_EXCEEDED", ""): misconfigured(400, "licence"),
    (None, "NOT_ALLOWED", ""): misconfigured(403, "licence"),
    (412, "ALREADY_MODIFIED", ""): Case(412, "retry", "not_yet", once=True),
    (None, "RECORD_LOCKED", ""): Case(400, "retry", "not_yet"),
    (None, "DUPLICATE_DATA", ""): rejected(400, "zoho_duplicate"),
    (404, "INVALID_URL_PATTERN", ""): rejected(404),
    **{
        (None, code, ""): rejected(400)
        for code in (
            "INVALID_DATA",
            "MANDATORY_NOT_FOUND",
            "MULTIPLE_OR_MULTI_ERRORS",
            "DEPENDENT_FIELD_MISSING",
            "DEPENDENT_MISMATCH",
            "EXPECTED_FIELD_MISSING",
            "AMBIGUITY_DURING_PROCESSING",
            "MAPPING_MISMATCH",
            "PATTERN_NOT_MATCHED",
            "REQUIRED_PARAM_MISSING",
            "LIMIT_EXCEEDED",
            "LIMIT_REACHED",
            "INVALID_MODULE",
            "INVALID_REQUEST_METHOD",
            "NOT_APPROVED",
            "RECORD_IN_BLUEPRINT",
            "CONVERTED_RECORD",
        )
    },
}

# The same under `data`, where CRM says what became of each row sent. `key` has the row's code.
CRM_ROWS: Final[dict[Key, Case]] = {
    (202, "RECORD_LOCKED", "row"): Case(202, "retry", "not_yet"),
    (207, "DUPLICATE_DATA", "row"): rejected(207, "zoho_duplicate"),
    (400, "INVALID_DATA", "row"): rejected(400),
    (200, "INTERNAL_ERROR", "row"): Case(200, "reconcile", "outage"),
    (403, "NO_PERMISSION", "row"): misconfigured(403, "permission"),
}

DESK: Final[dict[Key, Case]] = {
    (429, "THRESHOLD_EXCEEDED", ""): limited("day"),
    (429, "TOO_MANY_REQUESTS", ""): BUSY,
    (None, "INTERNAL_SERVER_ERROR", ""): Case(200, "reconcile", "outage"),
    (401, "INVALID_OAUTH", ""): misconfigured(401, "token"),
    (None, "SCOPE_MISMATCH", ""): misconfigured(403, "scope"),
    (None, "OAUTH_ORG_MISMATCH", ""): misconfigured(403, "organization"),
    (None, "LICENSE_ACCESS_LIMITED", ""): misconfigured(403, "licence"),
    (401, "UNAUTHORIZED", ""): misconfigured(401, "permission"),
    (None, "UNAUTHORIZED", ""): misconfigured(403, "permission"),
    (None, "FORBIDDEN", ""): misconfigured(403, "permission"),
    (None, "INTEGRATION_ADMIN_ERROR", ""): misconfigured(400, "setup"),
    (404, "URL_NOT_FOUND", ""): rejected(404, "zoho_not_found"),
    (405, "METHOD_NOT_ALLOWED", ""): rejected(405),
    (415, "UNSUPPORTED_MEDIA_TYPE", ""): rejected(415),
    (413, "RESOURCE_SIZE_EXCEEDED", ""): rejected(413),
    (400, "BAD_REQUEST", ""): rejected(400),
    (400, "EMPTY_PAYLOAD", ""): rejected(400),
    (422, "INVALID_DATA", ""): rejected(422),
    (422, "UNPROCESSABLE_ENTITY", ""): rejected(422),
    (None, "ONLY_LIVECHAT_USER", ""): rejected(400),
    (None, "DUPLICATE_CONTRACT", ""): rejected(409, "zoho_duplicate"),
}

# What a status says by itself: the rows of every product, and what stands in no table.
BY_STATUS: Final[dict[Key, Case]] = {
    (401, None, ""): misconfigured(401, "token"),
    (403, None, ""): misconfigured(403, "permission"),
    (408, None, ""): Case(408, "reconcile", "outage"),
    (429, None, ""): limited("minute"),
}
IN_NO_TABLE: Final[dict[Key, Case]] = {
    (503, None, ""): Case(503, "reconcile", "outage"),
    (200, NOT_JSON, ""): Case(200, "reconcile", "outage"),
    (404, NOT_JSON, ""): Case(404, "retry", "not_yet"),
    (418, None, ""): rejected(418),
}


def order_of(product: str, key: Key, case: Case) -> dict[str, Any]:
    """The fault that makes the sandbox give this answer, in the product's own envelope."""
    _, code, quotes = key
    message = f"Invalid value passed for {quotes}" if quotes == "organization_id" else quotes
    text = message or "a sentence of Zoho's"
    body: Any
    if code == NOT_JSON:
        body = "<html><body>We are sorry</body></html>"
    elif product in ("billing", "books"):
        assert code is not None
        body = {"code": int(code) if code.isdigit() else code, "message": text}
    elif product == "crm":
        body = {"code": code, "details": {}, "message": text, "status": "error"}
        if quotes == "row":
            body = {"data": [body]}
    else:
        body = {"errorCode": code or "NO_CODE_WE_KNOW", "message": text}
    return {
        "product": product,
        "kind": "answer",
        "status": case.status,
        "body": body,
        "headers": case.headers,
        "times": 1 if case.once else None,
    }
