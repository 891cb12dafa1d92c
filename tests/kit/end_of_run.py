"""Run tests of a whole run behind all others, whatever was selected."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pytest


class Found(Exception):
    """The findings of a test of a whole run: a line per problem."""


class EndOfRun(pytest.Item):
    """Fails with `heading` and `problems`, without a trace: what is at fault is elsewhere."""

    heading: ClassVar[str]

    def problems(self) -> Iterable[str]:
        raise NotImplementedError

    def runtest(self) -> None:
        if problems := list(self.problems()):
            raise Found("\n".join(problems))

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None
    ) -> str:
        if isinstance(excinfo.value, Found):
            return f"{self.heading}:\n{excinfo.value}"
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.name
