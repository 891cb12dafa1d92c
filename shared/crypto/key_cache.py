"""Cache opened data keys in memory, a bounded number for a bounded time."""

import time
from collections import OrderedDict
from uuid import UUID

from shared.crypto.data_key import DataKey


class KeyCache:
    """Keys by id and by owner. The least recently used is dropped first, and each after `for_s`."""

    def __init__(self, size: int, for_s: float) -> None:
        self._size = size
        self._for_s = for_s
        self._keys: OrderedDict[UUID, tuple[DataKey, float, tuple[str, str]]] = OrderedDict()
        self._ids: dict[tuple[str, str], UUID] = {}

    def get(self, id_or_owner: UUID | tuple[str, str]) -> DataKey | None:
        key_id = id_or_owner if isinstance(id_or_owner, UUID) else self._ids.get(id_or_owner)
        cached = self._keys.get(key_id) if key_id else None
        if key_id is None or cached is None:
            return None
        key, until, _ = cached
        if time.monotonic() >= until:
            self._remove(key_id)
            return None
        self._keys.move_to_end(key_id)
        return key

    def put(self, key: DataKey, owner: tuple[str, str]) -> None:
        self._keys[key.id] = (key, time.monotonic() + self._for_s, owner)
        self._keys.move_to_end(key.id)
        self._ids[owner] = key.id
        while len(self._keys) > self._size:
            self._remove(next(iter(self._keys)))

    def drop(self, owner: tuple[str, str]) -> None:
        if key_id := self._ids.get(owner):
            self._remove(key_id)

    def _remove(self, key_id: UUID) -> None:
        _, _, owner = self._keys.pop(key_id)
        if self._ids.get(owner) == key_id:
            del self._ids[owner]
