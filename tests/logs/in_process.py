"""Collect the lines that product code logs in the tests' own process.

They are rendered by the product's own configuration, at its lowest level, whatever a test is about.
A test that configures logging by itself is read too: every logger that structlog makes also writes
here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import structlog

from shared.observability import logs


class InProcess:
    """Writes each line to `file`, until `stop`."""

    def __init__(self, file: Path) -> None:
        self._out = file.open("a")
        self._lock = threading.Lock()
        self._patch = pytest.MonkeyPatch()
        self._configured: object = None
        self.lines = 0

    def start(self) -> None:
        configure = structlog.configure

        def heard(*args: Any, **given: Any) -> None:
            if make := given.get("logger_factory"):
                given["logger_factory"] = lambda *names: _Heard(make(*names), self._write)
            configure(*args, **given)

        self._patch.setattr(structlog, "configure", heard)
        self._patch.setattr(structlog, "reset_defaults", self._configure)
        self._configure()

    def between_tests(self) -> None:
        """End with each test what it configured and left behind."""
        if structlog.get_config()["logger_factory"] is not self._configured:
            self._configure()

    def stop(self) -> None:
        self._patch.undo()
        structlog.reset_defaults()
        self._out.close()

    def _configure(self) -> None:
        logs.configure("tests", "DEBUG", stream=_Shown())  # type: ignore[arg-type]
        self._configured = structlog.get_config()["logger_factory"]

    def _write(self, line: str) -> None:
        with self._lock:
            if self._out.closed:
                return  # said when pytest is already at its end
            self._out.write(line + "\n")
            self._out.flush()
            self.lines += line.count("\n") + 1


class _Heard:
    """A logger whose lines go to two places."""

    def __init__(self, logger: Any, write: Callable[[str], None]) -> None:
        self._logger, self._write = logger, write

    def __getattr__(self, method: str) -> Callable[..., Any]:
        log = getattr(self._logger, method)

        def both(*args: Any, **values: Any) -> Any:
            self._write(" ".join([*map(str, args), *map(str, values.items())]))
            return log(*args, **values)

        return both


class _Shown:
    """Standard output as it is at the moment: pytest, and tests, put others in its place."""

    def write(self, text: str) -> None:
        with suppress(ValueError):  # closed: a task that outlived its test still logs
            sys.stdout.write(text)

    def flush(self) -> None:
        with suppress(ValueError):
            sys.stdout.flush()
