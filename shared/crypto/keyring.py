"""Read the key rings of the environment: the first key writes, all of them read."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

KEY_BYTES = 32
_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")


@dataclass(frozen=True)
class RingKey:
    """A key and its id. The id is stored beside what the key wrote. The secret is never shown."""

    id: str
    secret: bytes = field(repr=False)


class KeyRing:
    """Keys in use. To rotate, put a new one first, and drop the old one once nothing needs it."""

    def __init__(self, keys: tuple[RingKey, ...]) -> None:
        if not keys:
            raise ValueError("a key ring needs at least one key, as id:base64")
        self._keys = {key.id: key for key in keys}
        if len(self._keys) < len(keys):
            raise ValueError("two keys of the ring have the same id")
        self.writing = keys[0]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `id:base64,id:base64`, each key 32 bytes.

        Raises:
            ValueError: it says which key is malformed and how, and shows no part of its secret.
        """
        entries = [entry.strip() for entry in text.split(",")]
        return cls(tuple(_parse_key(entry, n) for n, entry in enumerate(entries, 1) if entry))

    def get(self, key_id: str) -> RingKey | None:
        return self._keys.get(key_id)

    def __iter__(self) -> Iterator[RingKey]:
        """Yield the keys, the writing key first."""
        return iter(self._keys.values())

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._keys)})"


def _parse_key(entry: str, number: int) -> RingKey:
    key_id, colon, encoded = entry.partition(":")
    if not colon or not _ID.fullmatch(key_id):
        # Not quoted, because without its colon the entry may be all secret.
        raise ValueError(f"key {number} is not of the form id:base64 (id: A-Z a-z 0-9 _ . -)")
    try:
        secret = base64.b64decode(encoded.strip(), validate=True)
    except binascii.Error:
        raise ValueError(f"key {number} ({key_id}) is not base64") from None
    if len(secret) != KEY_BYTES:
        raise ValueError(f"key {number} ({key_id}) has {len(secret)} bytes instead of {KEY_BYTES}")
    return RingKey(key_id, secret)
