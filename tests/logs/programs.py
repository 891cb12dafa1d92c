"""List the output of our programs that the tests start.

What a test reads from a pipe passes through here on its way. What it throws away is kept instead.
What a program inherits from pytest ends in pytest's own capture (plugin.py reads that). What runs
in a stack has its log files, which are held open, so that they can be read when the stack's folder
is gone.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from deploy.local.stack import Stack
from tests.kit.leak_search import Needle
from tests.logs import values

_STREAMS = ("stdout", "stderr")
# Scripts of tests whose output is no log, but what the test wants to know.
NOT_LOGS = {
    # Prints the settings that a service would be given, secrets and ids in clear, to compare them.
    "tests/local_stack/test_isolation.py::test_an_env_file_that_lies_around_is_not_read",
}


@dataclass
class Held:
    """A log file of a stack. `start`: where this run's part begins, in bytes."""

    name: str
    stack: Path
    file: IO[bytes]
    start: int


class Programs:
    """Keeps what programs say in `folder`, a file for each stream, until `stop`.

    `newest` is the last program's name there, `tests` says by name which `test` was running when a
    program started. `started` are the stacks, and `secrets` theirs.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._patch = pytest.MonkeyPatch()
        self._held: dict[tuple[int, int], Held] = {}
        self._watched: set[Path] = set()
        self._copying: list[threading.Thread] = []
        self._count = 0
        self.newest = ""
        self.test = ""
        self.tests: dict[str, str] = {}
        self.started: set[Path] = set()
        self.secrets: set[Needle] = set()

    def start(self) -> None:
        begin, discard = subprocess.Popen.__init__, Stack.discard

        def begun(process: Any, args: Any, *more: Any, **given: Any) -> None:
            self._begin(begin, process, args, more, given)

        def discarded(stack: Stack) -> None:
            stack.stop()
            self.hold()
            discard(stack)

        self._patch.setattr(subprocess.Popen, "__init__", begun)
        self._patch.setattr(Stack, "discard", discarded)

    def stop(self) -> None:
        self._patch.undo()
        for held in self._held.values():
            held.file.close()

    def watch(self, stack: Path) -> None:
        """Hold this stack's log files, from what is now their end."""
        self._hold(stack, new=False)
        self._watched.add(stack)
        self.secrets |= set(values.of_stack(stack))  # now: the folder may be gone at the end

    def hold(self) -> None:
        """Take hold of log files that are there since the last time."""
        for stack in self._watched:
            self._hold(stack, new=True)

    def held(self) -> Iterator[tuple[Held, bytes]]:
        """Each log file with what this run wrote to it."""
        self.hold()
        for held in self._held.values():
            held.file.seek(held.start if held.start <= os.fstat(held.file.fileno()).st_size else 0)
            yield held, held.file.read()

    def settle(self, timeout_s: float = 5.0) -> None:
        """Wait for the last words of programs that have ended."""
        by = time.monotonic() + timeout_s
        for thread in self._copying:
            thread.join(max(by - time.monotonic(), 0))

    def _hold(self, stack: Path, *, new: bool) -> None:
        for path in sorted(stack.glob("logs/*.log")):
            status = path.stat()
            key = status.st_dev, status.st_ino
            if key not in self._held:
                start = 0 if new else status.st_size
                self._held[key] = Held(path.name, stack, path.open("rb"), start)

    def _begin(
        self, begin: Callable[..., None], process: Any, args: Any, more: Any, given: dict[str, Any]
    ) -> None:
        if not _is_ours(args) or self.test in NOT_LOGS:
            begin(process, args, *more, **given)
            return
        if stack := (given.get("env") or {}).get("ZOHO_RELAY_STACK"):
            self.watch(Path(stack))
            self.started.add(Path(stack))
        self._count += 1
        self.newest = f"{_name(args)}.{self._count}"
        self.tests[self.newest] = self.test
        # A file for each: two streams in one would cut each other's lines.
        kept = {name: self._folder / f"{self.newest}.{name}" for name in _STREAMS}
        with ExitStack() as files:
            for name in _STREAMS:
                if given.get(name) == subprocess.DEVNULL:
                    given[name] = files.enter_context(kept[name].open("ab"))
            begin(process, args, *more, **given)
        for name in _STREAMS:
            if given.get(name) == subprocess.PIPE:
                self._pass_on(getattr(process, name).fileno(), kept[name])

    def _pass_on(self, pipe: int, kept: Path) -> None:
        """Put ourselves between the program and whoever reads its pipe, who notices nothing."""
        source = os.dup(pipe)
        reading, writing = os.pipe()
        os.dup2(reading, pipe, inheritable=False)
        os.close(reading)
        thread = threading.Thread(target=_copy, args=(source, writing, kept), daemon=True)
        thread.start()
        self._copying.append(thread)


def _copy(source: int, target: int, kept: Path) -> None:
    try:
        with kept.open("ab", buffering=0) as file:
            while part := os.read(source, 65536):
                file.write(part)
                _write_all(target, part)
    except BrokenPipeError:
        pass  # nobody reads any more. The program learns it as it would without us
    finally:
        os.close(source)
        os.close(target)


def _write_all(target: int, part: bytes) -> None:
    while part:
        part = part[os.write(target, part) :]


def _is_ours(args: Any) -> bool:
    return (
        isinstance(args, Sequence)
        and not isinstance(args, str | bytes)
        and Path(os.fsdecode(args[0])).name.startswith("python")
    )


def _name(args: Sequence[Any]) -> str:
    words = [os.fsdecode(arg) for arg in args]
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    return "script"
