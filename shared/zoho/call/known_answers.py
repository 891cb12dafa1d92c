"""Define what Zoho's answers can mean, and find the known answer that one matches.

Products differ in data, never in code paths: each one's `known_answers.py` holds one row per answer
that we know of, with its source: a file of docs/zoho and a section in it
(`finance 5.2` is item 2 of section 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

# `code` of an answer that is no JSON object: a page of HTML, or nothing at all.
NOT_JSON: Final = "html"


class Meaning(Enum):
    """The fate of a call, and with it what may be done about it."""

    MINUTE_LIMIT = "minute"  # not done: wait out the window
    DAY_LIMIT = "day"  # not done: wait for the reset
    CONCURRENCY_LIMIT = "concurrency"  # not done: wait a second
    BAD_TOKEN = "token"  # noqa: S105  not done: one new token, one more try
    SCOPE = "scope"  # not done: a person has to mend it, as the next five
    ORGANIZATION = "organization"
    PERMISSION = "permission"
    LICENCE = "licence"
    DISABLED_USER = "disabled_user"
    SETUP = "setup"
    REJECTED = "rejected"  # not done, and never will be
    NOT_YET = "not_yet"  # not done: the record's state passes (locked, changed meanwhile)
    OUTAGE = "outage"  # unknown whether it was done


MISCONFIGURED: Final = frozenset(
    {
        Meaning.SCOPE,
        Meaning.ORGANIZATION,
        Meaning.PERMISSION,
        Meaning.LICENCE,
        Meaning.DISABLED_USER,
        Meaning.SETUP,
    }
)
# What one of several results may say of itself alone. Everything else concerns the whole call.
OF_ONE_ROW: Final = frozenset({Meaning.REJECTED, Meaning.NOT_YET})
LIMITS: Final = frozenset({Meaning.MINUTE_LIMIT, Meaning.DAY_LIMIT, Meaning.CONCURRENCY_LIMIT})


@dataclass(frozen=True)
class KnownAnswer:
    """One known answer. None matches any status, or any code. The first row that matches counts.

    `quotes`: text, in lower case, that the message must hold, where a code alone says too little.
    `wait_s`: how long to stay away, for refusals that are no limit (those stand in `waits`). `code`
    is on the error, where ours is finer than the class's own. `if_again`: what it means when a
    new token gets the same answer.
    """

    status: int | None
    zoho_code: str | None
    meaning: Meaning
    source: str
    wait_s: float | None = None
    quotes: str = ""
    code: str | None = None
    if_again: Meaning | None = None

    def matches(self, status: int, zoho_code: str, message: str) -> bool:
        return (
            # Of a 5xx no code alone says that nothing was done.
            (self.status == status or (self.status is None and status < 500))
            and self.zoho_code in (None, zoho_code)
            and self.quotes in message.lower()
        )


# What a status says when a product's table does not know better.
BY_STATUS: Final = (
    KnownAnswer(401, None, Meaning.BAD_TOKEN, "finance 1.3, crm 1.3, desk 2.4"),
    KnownAnswer(403, None, Meaning.PERMISSION, "finance 2.1, crm 1.3, desk 2.4"),
    KnownAnswer(408, None, Meaning.OUTAGE, "ours: the edge gave up waiting"),
    KnownAnswer(429, None, Meaning.MINUTE_LIMIT, "finance 2.3"),
)


def row_for_code(table: Sequence[KnownAnswer], zoho_code: str) -> KnownAnswer:
    """Return what one result of several means (CRM's `data`). It has a code, and no status."""
    for row in table:
        if row.zoho_code == zoho_code:
            return row
    return KnownAnswer(None, zoho_code, Meaning.REJECTED, "crm 1.3")


def row_for(
    table: Sequence[KnownAnswer], status: int, zoho_code: str, message: str = ""
) -> KnownAnswer:
    """The row that this answer matches. Never none."""
    for row in (*table, *BY_STATUS):
        if row.matches(status, zoho_code, message):
            return row
    if status >= 500 or (status < 400 and zoho_code in ("", NOT_JSON)):
        # Also a redirect, and a 2xx without the JSON that it should hold.
        return KnownAnswer(status, None, Meaning.OUTAGE, "finance 5.2")
    if zoho_code == NOT_JSON:
        # A page of the front door's: the API itself never saw the request.
        return KnownAnswer(
            status, NOT_JSON, Meaning.NOT_YET, "finance 5.2", code="zoho_unavailable"
        )
    return KnownAnswer(status, None, Meaning.REJECTED, "finance 2.2, crm 1.3, desk 2.4")
