"""Envelope encryption: values are sealed under data keys, data keys under the key ring.

A user has a data key of their own, so that destroying it erases them everywhere at once; what has
no user yet (webhooks at the door, outbox bodies, dead letters) is sealed under a key per
organization and day.
"""

from dataclasses import dataclass

from shared.crypto.data_key import DataKey, key_id_of
from shared.crypto.data_keys import DataKeys

__all__ = ["DataKey", "DataKeys", "DayKey", "KeyOwner", "UserKey", "Vault"]


@dataclass(frozen=True)
class UserKey:
    """The user whose key seals a value."""

    org: str
    user_id: str


@dataclass(frozen=True)
class DayKey:
    """Today's key of the organization, for what has no user yet."""

    org: str


KeyOwner = UserKey | DayKey


class Vault:
    """Seals values and opens them again. What services use.

    `place` names table, column and row (`billing.customers.email:default:u1`); it is authenticated,
    so a value moved to another place does not open.
    """

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    async def seal(self, owner: KeyOwner, text: str, place: str) -> bytes:
        """Seal a text. Raises as `seal_bytes`."""
        return await self.seal_bytes(owner, text.encode(), place)

    async def open(self, blob: bytes, place: str) -> str:
        """Open a text. Raises as `open_bytes`."""
        return (await self.open_bytes(blob, place)).decode()

    async def seal_bytes(self, owner: KeyOwner, plaintext: bytes, place: str) -> bytes:
        """Seal under the owner's key, which is made when there is none.

        Raises:
            PermanentError: `erased`, the user's key was destroyed.
            Unavailable: `unknown_key`, the owner's key was wrapped by a key that the ring lacks.
        """
        return (await self.key_of(owner)).seal(plaintext, place)

    async def open_bytes(self, blob: bytes, place: str) -> bytes:
        """Open what was sealed for the same place.

        Raises:
            PermanentError: `erased`, or `sealed_value_invalid` (altered, or sealed for another
                place).
            Unavailable: `unknown_key`.
        """
        return (await self._keys.by_id(key_id_of(blob))).open(blob, place)

    async def key_of(self, owner: KeyOwner) -> DataKey:
        """The key itself, for sealing many values at once."""
        match owner:
            case UserKey(org, user_id):
                return await self._keys.of_user(org, user_id)
            case DayKey(org):
                return await self._keys.of_day(org)

    async def preload(self, blobs: list[bytes]) -> None:
        """Fetch the keys of many blobs in one round trip before opening them one by one."""
        await self._keys.load(key_id_of(blob) for blob in blobs)
