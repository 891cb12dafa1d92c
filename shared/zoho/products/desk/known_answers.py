"""Desk: `{"errorCode": …, "message": …, "errors": […]}`.

Sources: docs/zoho/desk.md §2.4 and §2.5.
"""

from __future__ import annotations

from typing import Final

from shared.zoho.call.known_answers import KnownAnswer, Meaning

KNOWN_ANSWERS: Final = (
    # `Retry-After` comes with the first and not with the second (desk.md §2.5).
    KnownAnswer(429, "THRESHOLD_EXCEEDED", Meaning.DAY_LIMIT, "2.4, 2.5"),
    KnownAnswer(429, "TOO_MANY_REQUESTS", Meaning.CONCURRENCY_LIMIT, "2.4, 2.5"),
    KnownAnswer(None, "INTERNAL_SERVER_ERROR", Meaning.OUTAGE, "2.4"),
    KnownAnswer(401, "INVALID_OAUTH", Meaning.BAD_TOKEN, "2.4"),
    KnownAnswer(None, "SCOPE_MISMATCH", Meaning.SCOPE, "2.4"),
    KnownAnswer(None, "OAUTH_ORG_MISMATCH", Meaning.ORGANIZATION, "2.1, 2.4"),
    KnownAnswer(None, "LICENSE_ACCESS_LIMITED", Meaning.LICENCE, "2.4"),
    # An invalid token, as INVALID_OAUTH. When a new one gets it too, a right is missing.
    KnownAnswer(
        401,
        "UNAUTHORIZED",
        Meaning.BAD_TOKEN,
        "2.4 (DeskAPIDocument, errors)",
        if_again=Meaning.PERMISSION,
    ),
    KnownAnswer(None, "UNAUTHORIZED", Meaning.PERMISSION, "2.4"),
    KnownAnswer(None, "FORBIDDEN", Meaning.PERMISSION, "2.4"),
    KnownAnswer(None, "INTEGRATION_ADMIN_ERROR", Meaning.SETUP, "2.4"),
    # For an id: merged or in the trash.
    KnownAnswer(404, "URL_NOT_FOUND", Meaning.REJECTED, "2.4", code="zoho_not_found"),
    KnownAnswer(405, "METHOD_NOT_ALLOWED", Meaning.REJECTED, "2.4"),
    KnownAnswer(415, "UNSUPPORTED_MEDIA_TYPE", Meaning.REJECTED, "2.4"),
    KnownAnswer(413, "RESOURCE_SIZE_EXCEEDED", Meaning.REJECTED, "2.4"),
    KnownAnswer(400, "BAD_REQUEST", Meaning.REJECTED, "2.4"),
    KnownAnswer(400, "EMPTY_PAYLOAD", Meaning.REJECTED, "2.4"),
    KnownAnswer(422, "INVALID_DATA", Meaning.REJECTED, "2.4"),
    KnownAnswer(422, "UNPROCESSABLE_ENTITY", Meaning.REJECTED, "2.4"),
    KnownAnswer(None, "ONLY_LIVECHAT_USER", Meaning.REJECTED, "2.4"),
    KnownAnswer(None, "DUPLICATE_CONTRACT", Meaning.REJECTED, "2.4", code="zoho_duplicate"),
)
