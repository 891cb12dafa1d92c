"""Make what stands in the place of an erased user's name and email, where a product needs one."""

from __future__ import annotations

from typing import NamedTuple

from shared.crypto.blind_index import BlindIndex
from shared.crypto.envelope import UserKey
from shared.crypto.opaque_ids import opaque_id


class Placeholder(NamedTuple):
    """`email` has a domain that never has a mailbox (RFC 2606)."""

    name: str
    email: str


class Placeholders:
    """The same for the same user, so that it can be written again, and found. It reveals nobody."""

    def __init__(self, index: BlindIndex) -> None:
        self._index = index

    def of(self, user: UserKey) -> Placeholder:
        token = opaque_id(self._index, user.org, "erased", user.user_id)
        return Placeholder(
            f"Erased user {token}", f"{token.replace('_', '-').lower()}@erased.invalid"
        )
