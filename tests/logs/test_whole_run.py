"""Test that a run fails for one line with something of anybody in it, wherever it comes from.

The runs are made of the tests in planting.py, each of which leaves one value in one place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.contract.plugin import VARIABLE
from tests.logs import planting
from tests.logs.programs import NOT_LOGS

ROOT = Path(__file__).resolve().parents[2]

PROCESS, PROGRAM, CAPTURED, STACK = (
    "in in-process.log",
    "in programs/",
    "in captured/",
    "in stacks/",
)
# By test: what the report holds, in pieces.
TOLD = {
    "field": ("name as text", PROCESS, "event planted in a field, field note"),
    "event": ("name as text", PROCESS, "event (not told"),
    "reason": ("name as text", PROCESS, "event planted in a reason, field reason"),
    "standard_logging": ("name as text", PROCESS, "event planted in extra, field who"),
    "bound": ("name as text", PROCESS, "event planted beforehand, field correlation_id"),
    "configured": ("name as text", PROCESS, "event planted in a stream of the test"),
    "after_another_configuration": ("name as text", PROCESS, "event planted below the level"),
    "hex": ("email as hex", PROCESS, "event planted as hexadecimal"),
    "setting": ("secret as text", PROCESS, "event planted of a setting"),
    "print": ("email as text", CAPTURED, "line 1"),
    "inherited": ("email as text", CAPTURED, "(2 ×)"),
    "piped": ("email as text", PROGRAM, ".stderr"),
    "read_by_line": ("token as text", PROGRAM, "(2 ×)"),
    "thrown_away": ("Zoho id as text", PROGRAM, ".stderr"),
    "piped_to_asyncio": ("token as text", PROGRAM, ".stderr"),
    "much_is_piped": ("email as text", PROGRAM, "line 2"),
}
OF_STACKS = {
    "stack": ("Zoho id as text", "in stacks/left-running.", "dummy.1.log"),
    "discarded_stack": ("email as text", "in stacks/discarded.", "dummy.1.log"),
}
VALUES = (planting.NAME, planting.EMAIL, planting.TOKEN, planting.ID, planting.RECORDED, "pw-0f")


class Ended(NamedTuple):
    code: int
    text: str

    def tells(self, *pieces: str) -> bool:
        return any(all(piece in line for piece in pieces) for line in self.text.splitlines())


def run(folder: Path, select: str) -> Ended:
    (folder / "test_planting.py").write_text(Path(planting.__file__).read_text())
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")
    record = folder / "exchanges.jsonl"
    record.write_text(json.dumps({"path": "/", "body": {"email": planting.RECORDED}}) + "\n")
    options = ("-p", "tests.logs.plugin", "-c", "pytest.ini", "--basetemp", "of-its-own")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-k", select],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), VARIABLE: str(record)},
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout + ended.stderr)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return run(tmp_path_factory.mktemp("planted"), "not clean and not blind")


@pytest.mark.parametrize("test", TOLD)
def test_what_a_test_logs_is_found(planted: Ended, test: str) -> None:
    assert planted.tells(*TOLD[test], f"test_planting.py::test_{test}")


@pytest.mark.parametrize("test", OF_STACKS)
def test_what_a_stack_logs_is_found(planted: Ended, test: str) -> None:
    assert planted.tells(*OF_STACKS[test])


def test_a_run_with_findings_fails_and_shows_no_value(planted: Ended) -> None:
    assert planted.code == 1
    assert planted.tells(f"1 failed, {len(TOLD) + len(OF_STACKS)} passed")
    assert not [value for value in VALUES if value in planted.text]


def test_a_clean_run_passes(tmp_path: Path) -> None:
    ended = run(tmp_path, "clean")

    assert ended.code == 0, ended.text
    assert ended.tells("2 passed")


def test_a_reader_that_sees_nothing_fails(tmp_path: Path) -> None:
    ended = run(tmp_path, "blind")

    assert ended.code == 1
    assert ended.tells("a planted name was not found in in-process.log")
    assert ended.tells("nothing was read of the stack silent, which this run has started")


@pytest.mark.parametrize("test", sorted(NOT_LOGS))
def test_what_is_not_read_is_there(test: str) -> None:
    file, name = test.split("::")

    assert f"def {name}(" in (ROOT / file).read_text()
