"""Keep the sandbox's records in a file, each change before the answer that reports it.

The file holds the whole state and is replaced now and then. Beside it lies a log of what has
changed since, one JSON object a line. A change is in the log before its request is answered, so a
killed sandbox knows what it acknowledged. The log is not forced to the disk: it outlives the
process, not the machine. Only its owner may read any of them: they hold secrets and tokens.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from services.zoho_sandbox.server.world import World

_SAVE_AFTER_S: Final = 0.5
_TARGETS: Final = "targets"


class StateFile:
    """The state of one world in `path`, `path`.log and, while the former is written, .log.old."""

    def __init__(self, path: Path, world: World) -> None:
        self._path = path
        self._log = _beside(path, ".log")
        self._old_log = _beside(path, ".log.old")
        self._world = world
        # In the order of the last change of each.
        self._unlogged: dict[tuple[str, str, str | None], None] = {}
        self._changed = asyncio.Event()
        world.observe(self._note)

    def restore(self) -> None:
        """Load what a former run has left."""
        if self._path.exists():
            state = orjson.loads(self._path.read_bytes())
            self._world.webhooks.set_targets(state.pop(_TARGETS, {}))
            self._world.load(state)
            self._unlogged.clear()  # it is in the file
        for change in (*_lines(self._old_log), *_lines(self._log)):
            self._redo(change)

    def append(self) -> None:
        """Write what has changed to the log. Called before a request is answered."""
        if not self._unlogged:
            return
        changes = b"".join(orjson.dumps(self._line(*key)) + b"\n" for key in self._unlogged)
        self._unlogged.clear()
        with _private(self._log, os.O_APPEND) as log:
            log.write(changes)

    async def save_on_change(self) -> None:
        """Replace the file after changes, until cancelled, and then once more."""
        writing: asyncio.Future[None] | None = None
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                self._turn_log()
                content = self._serialized()
                writing = asyncio.ensure_future(asyncio.to_thread(self._replace, content))
                await asyncio.shield(writing)
                await asyncio.sleep(_SAVE_AFTER_S)
        finally:
            if writing is not None:
                # A thread cannot be cancelled. Without this wait it would write into the same
                # file, or replace it with an older state.
                await asyncio.wait([writing])
            self._turn_log()
            self._replace(self._serialized())

    def _note(self, product: str, table: str, record_id: str | None) -> None:
        key = (product, table, record_id)
        self._unlogged.pop(key, None)
        self._unlogged[key] = None
        self._changed.set()

    def _line(self, product: str, table: str, record_id: str | None) -> dict[str, Any]:
        if product == _TARGETS:
            return {_TARGETS: self._world.webhooks.targets_as_json()}
        if record_id is None:
            return {"product": product, "table": table}
        record = self._world.table(product, table).get(record_id)
        return {"product": product, "table": table, "id": record_id, "record": record}

    def _redo(self, change: dict[str, Any]) -> None:
        if _TARGETS in change:
            self._world.webhooks.set_targets(change[_TARGETS])
            return
        table = self._world.table(change["product"], change["table"])
        if "id" not in change:
            table.clear()
        elif change["record"] is None:
            table.remove(change["id"])
        else:
            table.load([change["record"]])

    def _turn_log(self) -> None:
        """Begin a new log: what the present one holds is in the state that is written now.

        The old one stays until then. Redone over the newer state, its last line of each record
        says the same.
        """
        self.append()
        if not self._log.exists():
            return
        if self._old_log.exists():  # an earlier state was never written
            with _private(self._old_log, os.O_APPEND) as old:
                old.write(self._log.read_bytes())
            self._log.unlink()
        else:
            self._log.replace(self._old_log)

    def _replace(self, content: bytes) -> None:
        fresh = _beside(self._path, ".new")
        fresh.unlink(missing_ok=True)
        with _private(fresh, os.O_EXCL) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)  # a kill before this line leaves the old state whole
        self._old_log.unlink(missing_ok=True)

    def _serialized(self) -> bytes:
        return orjson.dumps(
            {**self._world.state(), _TARGETS: self._world.webhooks.targets_as_json()}
        )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_suffix(path.suffix + suffix)


def _private(path: Path, flag: int) -> BinaryIO:
    """Open a file to write to it. Made anew, nobody else may read it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600), "wb")


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    if not log.exists():
        return
    for line in log.read_bytes().split(b"\n")[:-1]:  # the last one was cut short, or is empty
        yield orjson.loads(line)
