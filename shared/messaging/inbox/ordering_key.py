"""In whose line a message is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from shared.contracts.commands import Command
from shared.crypto.blind_index import BlindIndex


@dataclass(frozen=True, slots=True)
class OrderingKey:
    """What the claim needs in order to find the line; see `claim()` in 0001_messaging.sql."""

    lined: bool = False
    user_id: str | None = None
    fallback: str | None = None
    named: tuple[tuple[str, str], ...] = ()
    names: tuple[tuple[str, str], ...] = ()


NO_LINE: Final = OrderingKey()


def ordering_key_of(message: BaseModel | None, org: str, digest: BlindIndex) -> OrderingKey:
    """A command's line: its user's; else of what it names; else of the email; else of the id.

    What names nothing (a report), and webhooks and events, are in no line.
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
