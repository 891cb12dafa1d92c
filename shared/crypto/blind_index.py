"""Find a sealed value without opening it, by an HMAC-SHA-256 of the normalized value."""

import hmac
import unicodedata
from dataclasses import dataclass

from shared.crypto.keyring import KeyRing


@dataclass(frozen=True, slots=True)
class BlindIndexEntry:
    """A row of a `blind_index` table: the key's id, and the 32 bytes it makes of the value."""

    key_id: str
    index: bytes


class BlindIndex:
    """Blind indexes for one purpose (`billing.customers`): those of two purposes never match."""

    def __init__(self, ring: KeyRing, purpose: str) -> None:
        self._keys = [
            (key.id, _digest(key.secret, b"zoho-relay blind index 1", purpose.encode()))
            for key in ring
        ]

    def of(self, org: str, kind: str, value: str) -> list[BlindIndexEntry]:
        """Return one entry per key in use, the writing key's first. Store the first, look for all.

        An `email` gives the same entries whatever its case, its width and the spaces around it.
        """
        parts = (b"of", org.encode(), kind.encode(), _normalized(kind, value).encode())
        return [BlindIndexEntry(key_id, _digest(key, *parts)) for key_id, key in self._keys]

    def mac(self, purpose: str, data: bytes) -> bytes:
        """Return a digest under the writing key, to find out later whether `data` is the same."""
        return _digest(self._keys[0][1], b"mac", purpose.encode(), data)

    def macs(self, purpose: str, data: bytes) -> list[bytes]:
        """Return the digests under all keys in use. Compare a stored one with these."""
        return [_digest(key, b"mac", purpose.encode(), data) for _, key in self._keys]


def normalized_email(email: str) -> str:
    """Return the address trimmed, composed (NFKC) and case-folded."""
    folded = unicodedata.normalize("NFKC", email.strip()).casefold()
    # Folding can undo the composition, as in "ΐ".
    return unicodedata.normalize("NFKC", folded).strip()


def _normalized(kind: str, value: str) -> str:
    return normalized_email(value) if kind == "email" else value


def _digest(key: bytes, *parts: bytes) -> bytes:
    # With lengths in front, ("a", "bc") and ("ab", "c") differ.
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hmac.digest(key, framed, "sha256")
