"""Name what the relay itself still holds of an erased user, and for how long."""

from __future__ import annotations

from typing import Final

from shared.contracts.events import Kept

OUTBOX_DAYS: Final = 1  # an hour after the broker confirmed it, and a day's pause of the broker
WEBHOOK_BODY_DAYS: Final = 7
INBOX_ID_DAYS: Final = 60
WEBHOOK_ID_DAYS: Final = 190  # Zoho's event log reaches back 180


def retained_for(dead_letter_days: int, backup_days: int) -> tuple[Kept, ...]:
    """What is kept after an erasure. Nothing of it is under the user's key.

    The last one has no end: without it, a late message would begin anew.
    """
    return (
        Kept(
            what="events and replies that were published",
            reason="sealed in the outbox under a key of the day",
            days=OUTBOX_DAYS,
        ),
        Kept(
            what="webhooks that came before their user was known",
            reason="sealed at the gateway under a key of the day",
            days=WEBHOOK_BODY_DAYS,
        ),
        Kept(
            what="messages that were given up and named no user",
            reason="sealed as dead letters under a key of the day",
            days=dead_letter_days,
        ),
        Kept(
            what="ids of messages, with an HMAC of each body",
            reason="a repetition is recognized by them",
            days=INBOX_ID_DAYS,
        ),
        Kept(
            what="ids of webhooks, with an HMAC of each event's id or body",
            reason="a repetition is recognized by them",
            days=WEBHOOK_ID_DAYS,
        ),
        Kept(
            what="backups, and the files of the broker",
            reason="copies that nobody can edit",
            days=backup_days,
        ),
        Kept(
            what="the user_id, and the ids of the user's subscriptions, invoices and tickets",
            reason="later messages about them are refused by them",
        ),
    )
