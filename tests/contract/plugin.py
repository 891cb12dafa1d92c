"""Record every run of the tests at the sandboxes, and compare it with the references at its end.

Loaded by tests/conftest.py. The comparison is the last test of the run, whatever was selected, so
that a request that Zoho would refuse fails the run in which it was sent. Measurements (`-m bench`)
are not recorded.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kit.end_of_run import EndOfRun

if TYPE_CHECKING:
    from tests.contract.report import Report

VARIABLE = "SANDBOX_RECORD"
_RUN = Path(__file__).resolve().parents[2] / ".run"
REPORT = _RUN / "contract-report.txt"
# Names a folder in which each process of one run leaves what it has sent (tests/shards.py).
SENT_FOLDER = "CONTRACT_SENT"

_folder = pytest.StashKey[Path]()
_report: pytest.StashKey[Report] = pytest.StashKey()


class EveryRecordedRequest(EndOfRun):
    heading = "not as the references say (tests/contract/table, and Zoho's own files)"

    def problems(self) -> Iterable[str]:
        # Only here: every run of any test loads this module.
        from tests.contract.exchanges import ours
        from tests.contract.openapi import zohos_files
        from tests.contract.report import compare
        from tests.contract.tables import our_tables

        report = compare(ours(Path(os.environ[VARIABLE])), our_tables(), zohos_files())
        self.config.stash[_report] = report
        if folder := os.environ.get(SENT_FOLDER):
            report.save(Path(folder) / f"{os.getpid()}.json")
        return report.problems()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    if not items or all(item.get_closest_marker("bench") for item in items):
        return
    # Outside the checkout: it holds what was sent, and the tests search their folders for that.
    folder = Path(tempfile.mkdtemp(prefix="zoho-relay-record-"))
    config.stash[_folder] = folder
    os.environ[VARIABLE] = str(folder / "exchanges.jsonl")
    last = EveryRecordedRequest.from_parent(
        session, name="every recorded request is as the references say"
    )
    last.add_marker(pytest.mark.timeout(600))
    items.append(last)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    report = terminalreporter.config.stash.get(_report, None)
    if report is None or not report.sent:
        return
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text("\n".join(report.lines()) + "\n")
    terminalreporter.section("requests compared with the references")
    for line in report.lines():
        terminalreporter.write_line(line)


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_folder, None):
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop(VARIABLE, None)
