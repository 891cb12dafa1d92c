"""Keep the log lines of one run of pytest while it runs, and read them at its end."""

from __future__ import annotations

import os
import secrets
import string
import subprocess
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Final

import pydantic
import pytest
import structlog

from deploy.local.stack import Stack
from tests.contract.plugin import VARIABLE
from tests.kit.leak_search import Needle
from tests.logs import values
from tests.logs.in_process import InProcess
from tests.logs.programs import Programs
from tests.logs.reading import Place, read

ROOT: Final = Path(__file__).resolve().parents[2]
TEST_STACK: Final = ROOT / ".run" / "test"
"""Its servers are used by runs side by side, and outlive this one."""

IN_PROCESS, PROGRAMS, CAPTURED, STACKS = "in-process.log", "programs", "captured", "stacks"

# Redaction takes out the others.
REDACTED_NOT: Final = frozenset({"name", "secret"})
Planted = tuple[Callable[[Place], bool], Set[str]]
_PROGRAM = "import sys; print(sys.stdin.read())"


def made_up() -> dict[str, str]:
    """A value of every kind that nobody has, another one each time: runs may read each other."""
    number = 10**16 + secrets.randbelow(10**16)
    return {
        "email": f"planted.{number}@example.org",
        "token": f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}",
        "Zoho id": f"46{number}",
        "name": f"Planta P{_letters(8)}",
        "secret": f"planted-{_letters(32)}",
    }


def _letters(count: int) -> str:
    """No digits: a long run of them is taken for an id, and out, before it is looked for."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(count))


class Run:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kept = folder / "kept"
        self._kept.mkdir()
        self._in_process = InProcess(self._kept / IN_PROCESS)
        self._programs = Programs(self._kept / PROGRAMS)
        self._patch = pytest.MonkeyPatch()
        self._planted = made_up()
        self._secrets: set[str] = set()
        self._tests: list[tuple[int, str]] = []

    def start(self) -> None:
        (self._kept / CAPTURED).mkdir()
        self._in_process.start()
        self._programs.start()
        self._programs.watch(TEST_STACK)
        self._collect_secrets()

    def stop(self) -> None:
        self._patch.undo()
        self._programs.stop()
        self._in_process.stop()

    def begin(self, test: str) -> None:
        self._in_process.between_tests()
        self._tests.append((self._in_process.lines, test))
        self._programs.test = test

    def ended(self, report: pytest.TestReport) -> None:
        """Keep what pytest caught in one phase of a test, from this process and its children.

        Not its own rendering of log records: the product renders them in another way.
        """
        self._programs.hold()
        for title, text in report.sections:
            if title.startswith(("Captured stdout", "Captured stderr")) and title.endswith(
                report.when or ""
            ):
                name = f"{len(self._tests)}.{report.when}"
                with (self._kept / CAPTURED / name).open("a") as file:
                    file.write(text)

    def problems(self) -> list[str]:
        """Describe why the last test fails, in words that can be printed."""
        for stack in self._programs.started - {TEST_STACK}:
            Stack(stack).stop()
        planted = self._plant()
        self._programs.settle()
        silent = self._gather()
        reading = read(self._kept, self._needles(), test_of=self._test_of)
        seen = {
            source: {place.kind for place in reading.places if is_there(place)}
            for source, (is_there, _) in planted.items()
        }
        reading.places = [
            place
            for place in reading.places
            if not any(is_there(place) for is_there, _ in planted.values())
        ]
        blind = [
            f"a planted {kind} was not found in {source}: the reader is blind there"
            for source, (_, kinds) in planted.items()
            for kind in sorted(kinds - seen[source])
        ]
        return [*reading.told(), *blind, *silent]

    def _plant(self) -> dict[str, Planted]:
        """A value of every kind in every source. A recogniser of each, and the kinds to be found.

        In a line of this process only what redaction cannot know: the rest it takes out.
        """
        line = " ".join(self._planted.values())
        structlog.get_logger().info("planted by the last test", sample=line)
        number = self._in_process.lines

        stack = self.folder / "planted"
        (stack / "logs").mkdir(parents=True)
        self._programs.watch(stack)
        (stack / "logs" / "service.1.log").write_text(line + "\n")

        subprocess.run(
            [sys.executable, "-ISc", _PROGRAM],
            input=line.encode(),
            capture_output=True,
            check=True,
        )
        program = f"{PROGRAMS}/{self._programs.newest}."
        return {
            IN_PROCESS: (lambda one: (one.file, one.line) == (IN_PROCESS, number), REDACTED_NOT),
            PROGRAMS: (lambda one: one.file.startswith(program), self._planted.keys()),
            STACKS: (lambda one: one.file.startswith(f"{STACKS}/planted."), self._planted.keys()),
        }

    def _gather(self) -> list[str]:
        """Bring the stacks' log files to the others. What is said of those that have no line."""
        (self._kept / STACKS).mkdir()
        spoke: set[Path] = set()
        for number, (held, content) in enumerate(self._programs.held()):
            name = f"{held.stack.name}.{number}.{held.name}"
            (self._kept / STACKS / name).write_bytes(content)
            if content:
                spoke.add(held.stack)
        return [
            f"nothing was read of the stack {stack.name}, which this run has started"
            for stack in sorted(self._programs.started - spoke)
        ]

    def _needles(self) -> Iterator[Needle]:
        record = Path(os.environ.get(VARIABLE, os.devnull))
        if record.exists():
            with record.open("rb") as lines:
                yield from values.recorded(lines)
        for text in self._secrets:
            yield from values.secret(text)
        yield from values.of_the_sandbox()
        yield from self._programs.secrets
        yield from values.given_in((ROOT / "tests").rglob("*.py"))
        yield from (Needle(kind, value) for kind, value in self._planted.items())

    def _collect_secrets(self) -> None:
        init, heard = pydantic.SecretStr.__init__, self._secrets

        def made(secret: pydantic.SecretStr, value: str) -> None:
            init(secret, value)
            heard.add(value)

        self._patch.setattr(pydantic.SecretStr, "__init__", made)

    def _test_of(self, file: str, line: int) -> str:
        if file == IN_PROCESS:
            at = bisect_right(self._tests, line - 1, key=lambda begun: begun[0]) - 1
            return self._tests[at][1] if at >= 0 else ""
        if file.startswith(f"{CAPTURED}/"):
            return self._tests[int(Path(file).name.split(".")[0]) - 1][1]
        if file.startswith(f"{PROGRAMS}/"):
            return self._programs.tests.get(Path(file).stem, "")
        return ""
