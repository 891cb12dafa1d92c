"""Seal values by envelope encryption: values under data keys, data keys under the key ring.

A user has a data key of their own, so that destroying it erases them everywhere at once. What has
no user yet (webhooks at the gateway, outbox bodies, dead letters) is sealed under a key per
organization and day.
"""

from dataclasses import dataclass

from shared.crypto.data_key import DataKey, key_id_of
from shared.crypto.data_keys import DataKeys

__all__ = ["DataKey", "DataKeys", "DayKey", "KeyOwner", "UserKey", "Vault"]


@dataclass(frozen=True)
class UserKey:
    """Name the user whose data key seals a value. It holds no key."""

    org: str
    user_id: str


@dataclass(frozen=True)
class DayKey:
    """Name the organization whose data key of today seals what has no user yet."""

    org: str


KeyOwner = UserKey | DayKey


class Vault:
    """Seals values and opens them again. Services use this, and not the keys themselves.

    `context` names table, column and row (`billing.customers.email:default:u1`). It is
    authenticated, so a value moved to another row does not open.
    """

    def __init__(self, keys: DataKeys) -> None:
        self._keys = keys

    async def seal(self, owner: KeyOwner, text: str, context: str) -> bytes:
        """Seal a text. Raises as `seal_bytes`."""
        return await self.seal_bytes(owner, text.encode(), context)

    async def open(self, blob: bytes, context: str) -> str:
        """Open a text. Raises as `open_bytes`."""
        return (await self.open_bytes(blob, context)).decode()

    async def seal_bytes(self, owner: KeyOwner, plaintext: bytes, context: str) -> bytes:
        """Seal under the owner's key, which is made when there is none.

        Raises:
            PermanentError: `erased`, the user's key was destroyed.
            Unavailable: `unknown_key`, the owner's key was wrapped by a key that the ring lacks.
        """
        return (await self.key_of(owner)).seal(plaintext, context)

    async def open_bytes(self, blob: bytes, context: str) -> bytes:
        """Open what was sealed in the same context.

        Raises:
            PermanentError: `erased`, or `sealed_value_invalid` (altered, or sealed in another
                context).
            Unavailable: `unknown_key`.
        """
        return (await self._keys.by_id(key_id_of(blob))).open(blob, context)

    async def key_of(self, owner: KeyOwner) -> DataKey:
        """Return the key itself, for sealing many values at once."""
        match owner:
            case UserKey(org, user_id):
                return await self._keys.of_user(org, user_id)
            case DayKey(org):
                return await self._keys.of_day(org)

    def forget(self, user: UserKey) -> None:
        """Drop the user's key from this process's memory: it is being destroyed."""
        self._keys.forget(user.org, user.user_id)

    async def preload(self, blobs: list[bytes]) -> None:
        """Fetch the keys of many blobs in one round trip before opening them one by one."""
        await self._keys.load(key_id_of(blob) for blob in blobs)
