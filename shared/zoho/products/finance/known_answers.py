"""Billing and Books: `{"code": 0, "message": …}`. Another code is an error, whatever the status.

Codes are used again by each module (1000, 1002), so the status is looked at first where it decides.
Sources: docs/zoho/finance.md, by section.
"""

from __future__ import annotations

from typing import Final

from shared.zoho.call.known_answers import KnownAnswer, Meaning

KNOWN_ANSWERS: Final = (
    KnownAnswer(None, "44", Meaning.MINUTE_LIMIT, "4.2"),
    KnownAnswer(None, "45", Meaning.DAY_LIMIT, "4.2"),
    KnownAnswer(None, "1070", Meaning.CONCURRENCY_LIMIT, "4.2"),
    KnownAnswer(None, "6018", Meaning.DISABLED_USER, "1.5, 2.2"),
    KnownAnswer(None, "6041", Meaning.ORGANIZATION, "remembered: user not in this organization"),
    # A dead token and a missing scope look alike. Only a new token shows which it was.
    KnownAnswer(401, "57", Meaning.BAD_TOKEN, "1.3", if_again=Meaning.SCOPE),
    KnownAnswer(None, "57", Meaning.SCOPE, "2.2: under 200 and 403"),
    KnownAnswer(400, "2", Meaning.ORGANIZATION, "2.2", quotes="organization_id"),
    KnownAnswer(401, "14", Meaning.BAD_TOKEN, "1.3"),
    KnownAnswer(None, "INVALID_OAUTHTOKEN", Meaning.BAD_TOKEN, "1.3"),
    KnownAnswer(404, "1002", Meaning.REJECTED, "2.2", code="zoho_not_found"),
    KnownAnswer(500, "1000", Meaning.OUTAGE, "2.2"),
    KnownAnswer(None, "1000", Meaning.OUTAGE, "2.2", quotes="internal error"),
    KnownAnswer(None, "1000", Meaning.REJECTED, "2.2: the other use of 1000, a name that exists"),
    KnownAnswer(None, "1001", Meaning.REJECTED, "2.2", code="zoho_duplicate"),
    KnownAnswer(None, "3062", Meaning.REJECTED, "2.2", code="zoho_duplicate"),
    KnownAnswer(None, "1038", Meaning.REJECTED, "2.2"),
    KnownAnswer(None, "2", Meaning.REJECTED, "2.2"),
    KnownAnswer(None, "5", Meaning.REJECTED, "2.2"),
    KnownAnswer(None, "37", Meaning.REJECTED, "2.2"),
)
