"""Write log lines to a stream without ever failing the work that logs them, and count the lost."""

from __future__ import annotations

import os
import sys
from typing import TextIO


class LostLines:
    """The number of log lines of this process that could not be written."""

    count = 0


class LogStream:
    """A file for structlog. A line that cannot be written is dropped and counted.

    The disk of the log is full, its reader has gone, or a line cannot be encoded. Standard output
    is written past Python's own buffer, which would keep a failed line, try it again with each
    later one, and end the process with code 120.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._torn = False

    def write(self, text: str) -> None:
        try:
            if self._out is not None:
                self._out.write(text)
            else:
                self._write_bytes(text.encode(errors="backslashreplace"))
        except (OSError, ValueError):  # ValueError: the file is closed
            LostLines.count += 1

    def flush(self) -> None:
        if self._out is not None:
            try:
                self._out.flush()
            except (OSError, ValueError):
                LostLines.count += 1

    def _write_bytes(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line  # what is left of the last one stays a line of its own
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(sys.stdout.fileno(), rest) :]
                self._torn = bool(rest)
        except OSError:
            self._torn = self._torn or len(rest) < len(line)
            raise
