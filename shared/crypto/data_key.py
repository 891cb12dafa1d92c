"""Seal values under one data key, and open them.

blob = version (1 byte) · data key's id (16) · nonce (12) · ciphertext and tag (AES-256-GCM)
"""

import os
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.errors import PermanentError, Unavailable

_VERSION: Final = 1
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = 1 + 16
_SHORTEST: Final = _HEADER_BYTES + _NONCE_BYTES + 16


class DataKey:
    """A key that seals values. Every blob that it makes holds its `id`."""

    def __init__(self, key_id: UUID, secret: bytes) -> None:
        self.id = key_id
        self._header = bytes([_VERSION]) + key_id.bytes
        # Built once: it expands the key, which costs more than sealing a short value.
        self._cipher = AESGCM(secret)

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Encrypt, bound to `context`: table, column and row, `billing.users.email:default:u1`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, plaintext, self._header + context.encode())
        return self._header + nonce + sealed

    def open(self, blob: bytes, context: str) -> bytes:
        """Undo `seal`.

        Raises:
            PermanentError: `sealed_value_invalid`, altered, or sealed in another context.
        """
        nonce = blob[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        sealed = blob[_HEADER_BYTES + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, sealed, self._header + context.encode())
        except (InvalidTag, ValueError) as error:
            raise _invalid() from error

    def __repr__(self) -> str:
        return f"DataKey({self.id})"


def key_id_of(blob: bytes) -> UUID:
    """Return the id of the data key that sealed `blob`.

    Raises:
        PermanentError: `sealed_value_invalid`, it is no sealed value.
        Unavailable: `unknown_key`, a newer version of this program sealed it.
    """
    if len(blob) < _SHORTEST:
        raise _invalid()
    if blob[0] != _VERSION:
        raise Unavailable("sealed in a form that this version cannot open", code="unknown_key")
    return UUID(bytes=bytes(blob[1:_HEADER_BYTES]))


def _invalid() -> PermanentError:
    return PermanentError("a sealed value does not open here", code="sealed_value_invalid")
