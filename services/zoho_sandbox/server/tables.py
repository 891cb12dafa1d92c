"""Store Zoho's records, and the index that its searches read.

A read by id is always current. Lists and searches use an index that takes a change over only
after the product's lag: a new record is not found, a changed one is found in its former state.
"""

from __future__ import annotations

import copy
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Record = dict[str, Any]

# Leading digits per product. With sixteen digits of time behind them, ids have 18 or 19 digits,
# beyond what a JavaScript number holds, and are never the same in two products.
_PREFIXES = {"accounts": "39", "billing": "46", "books": "518", "crm": "487", "desk": "20"}


class Ids:
    """Makes ids: rising strings of 18 or 19 digits, never repeated, not even after a restart."""

    def __init__(self) -> None:
        self._last = 0

    def new(self, product: str) -> str:
        self._last = max(self._last + 1 + secrets.randbelow(97), time.time_ns() // 1000)
        return f"{_PREFIXES.get(product, '77')}{self._last:016d}"


class _FieldValues:
    """Which records hold which text in one field, without regard to case."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._ids: dict[str, set[str]] = {}
        self._value_of: dict[str, str] = {}

    def note(self, record_id: str, record: Record | None) -> None:
        """Take over the record's present state; None when it is gone."""
        value = record and record.get(self._field)
        value = value.casefold() if isinstance(value, str) else None
        former = self._value_of.get(record_id)
        if value == former:
            return
        if former is not None:
            del self._value_of[record_id]
            self._ids[former].discard(record_id)
            if not self._ids[former]:
                del self._ids[former]
        if value is not None:
            self._value_of[record_id] = value
            self._ids.setdefault(value, set()).add(record_id)

    def ids(self, value: str) -> set[str]:
        return self._ids.get(value.casefold(), set())


class Table:
    """Records of one kind by their id field, in order of creation."""

    def __init__(
        self,
        key: str,
        *,
        new_id: Callable[[], str],
        lag_s: Callable[[], float],
        now: Callable[[], float],
        changed: Callable[[str | None], None],
    ) -> None:
        self.key = key
        self._new_id = new_id
        self._lag_s = lag_s
        self._now = now
        self._changed = changed
        self._rows: dict[str, Record] = {}
        self._values: dict[str, _FieldValues] = {}
        self._index: dict[str, Record] = {}
        self._pending: deque[tuple[float, str, Record | None]] = deque()

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._rows.values()))

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, record_id: str) -> Record | None:
        """Return the record itself, in its present state. Change it, then `save` it."""
        return self._rows.get(str(record_id))

    def with_text(self, field: str, text: str) -> list[Record]:
        """Return the records that hold this text in a field, in their present state.

        Case does not matter. They come in order of creation. A field that is asked for often costs
        no more with many records: what it holds is noted from the first time on.
        """
        if field not in self._values:
            values = self._values[field] = _FieldValues(field)
            for record_id, record in self._rows.items():
                values.note(record_id, record)
        ids = self._values[field].ids(text)
        if len(ids) < 2:
            return [self._rows[record_id] for record_id in ids]
        return [record for record_id, record in self._rows.items() if record_id in ids]

    def add(self, record: Record) -> Record:
        """Add a new record, with a new id when it has none."""
        if not record.get(self.key):
            record[self.key] = self._new_id()
        return self.save(record)

    def save(self, record: Record) -> Record:
        """Make the record's present state visible to searches after the lag."""
        record_id = str(record[self.key])
        self._rows[record_id] = record
        self._note(record_id, copy.deepcopy(record))
        return record

    def remove(self, record_id: str) -> None:
        if self._rows.pop(str(record_id), None) is not None:
            self._note(str(record_id), None)

    def clear(self) -> None:
        self._rows.clear()
        self._values.clear()
        self._index.clear()
        self._pending.clear()
        self._changed(None)

    def load(self, records: Iterable[Record]) -> None:
        """Add records unchanged, visible to searches at once."""
        loaded: dict[str, Record] = {}
        for record in records:
            record_id = str(record.setdefault(self.key, self._new_id()))
            loaded[record_id] = record
        # Changes still on their way to the index are older than the loaded records.
        self._pending = deque(change for change in self._pending if change[1] not in loaded)
        self._rows |= loaded
        self._index |= copy.deepcopy(loaded)
        for record_id, record in loaded.items():
            self._note_values(record_id, record)
            self._changed(record_id)

    def searched(self) -> list[Record]:
        """Return copies of the records that a list or search sees now, in order of creation."""
        horizon = self._now() - self._lag_s()
        while self._pending and self._pending[0][0] <= horizon:
            _, record_id, record = self._pending.popleft()
            if record is None:
                self._index.pop(record_id, None)
            else:
                self._index[record_id] = record
        return list(self._index.values())

    def _note(self, record_id: str, record: Record | None) -> None:
        self._pending.append((self._now(), record_id, record))
        self._note_values(record_id, record)
        self._changed(record_id)

    def _note_values(self, record_id: str, record: Record | None) -> None:
        for values in self._values.values():
            values.note(record_id, record)
