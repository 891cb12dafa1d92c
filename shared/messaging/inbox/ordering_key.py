"""Compute a message's ordering key: the line that it stands in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from shared.contracts.commands import Command
from shared.contracts.events import Event
from shared.contracts.webhooks import WebhookReceived
from shared.contracts.zoho_payloads import record_of
from shared.crypto.blind_index import BlindIndex


@dataclass(frozen=True, slots=True)
class OrderingKey:
    """What finds a message's line in the database.

    The line is that of `user_id`, else of the user who owns the first of `named` that somebody has
    named, else `fallback`, else the message's own. Things are (kind, id).
    `names`: what the message names anew, so that later messages about it find its line.
    """

    lined: bool = False
    user_id: str | None = None
    fallback: str | None = None
    named: tuple[tuple[str, str], ...] = ()
    names: tuple[tuple[str, str], ...] = ()


NO_LINE: Final = OrderingKey()

# A ticket is the escalation that a command named.
_NAMED_AS: Final = {"ticket": "escalation"}


def _command_key(message: BaseModel | None, org: str, digest: BlindIndex) -> OrderingKey:
    """Return a command's ordering key: its user, what it names, the email, or its own id.

    What names nothing (a report) stands alone.
    """
    if not isinstance(message, Command):
        return NO_LINE
    references = message.references()
    if references.user_id is not None:
        return OrderingKey(True, references.user_id, names=references.introduced)
    fallback = None
    if references.email is not None:
        fallback = f"email:{digest.of(org, 'email', references.email)[0].index.hex()}"
    elif references.mentioned or references.introduced:
        fallback = ":".join((references.mentioned or references.introduced)[0])
    if fallback is None:
        return NO_LINE
    return OrderingKey(True, None, fallback, references.mentioned, references.introduced)


def line_key_of(message: BaseModel | None, org: str, digest: BlindIndex) -> OrderingKey:
    """The ordering key of a command, a webhook or an event. NO_LINE stands for a line of its own.

    An event has the key of its subject. A webhook has that of its record, apart from its user's
    line: a burst is one line, and one read serves it.
    """
    match message:
        case Event():
            return _event_key(message)
        case WebhookReceived():
            record = record_of(message.product, message.payload)
            if record is None:
                return NO_LINE
            # Zoho's ids are found by blind indexes only.
            name = ":".join((message.product, *record))
            index = digest.of(org, "webhook record", name)[0].index
            return OrderingKey(True, None, f"webhook:{index.hex()}")
        case _:
            return _command_key(message, org, digest)


def _event_key(event: Event) -> OrderingKey:
    user_id = getattr(event, "user_id", None)
    if isinstance(user_id, str):
        return OrderingKey(True, user_id)
    subject = event.subject()
    kind, _, name = subject.partition(":")
    thing = (_NAMED_AS.get(kind, kind), name)
    return OrderingKey(True, None, ":".join(thing), (thing,))
