"""Read every log line of a run at its end: it must hold nothing of anybody.

Loaded by tests/conftest.py. The reading is the last test of the run, whatever was selected.
Measurements (`-m bench`) are not read. Each run proves that its reader sees: the last test plants
a made-up value of every kind in every source, and must find it there.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.kit.end_of_run import EndOfRun

if TYPE_CHECKING:
    from tests.logs.run import Run

_run: pytest.StashKey[Run] = pytest.StashKey()


class EveryLogLine(EndOfRun):
    heading = "in log lines of this run"

    def problems(self) -> Sequence[str]:
        return self.config.stash[_run].problems()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    if not items or config.option.collectonly:
        return
    if all(item.get_closest_marker("bench") for item in items):
        return
    from tests.logs.run import Run  # only here: every run of any test loads this module

    # Outside the checkout, as the record of the requests: it may hold what must lie nowhere.
    config.stash[_run] = run = Run(Path(tempfile.mkdtemp(prefix="zoho-relay-logs-")))
    run.start()
    # The very last: it stops the systems that tests have left running, to hear their last words.
    last = EveryLogLine.from_parent(session, name="no log line holds anything of anybody")
    last.add_marker(pytest.mark.timeout(600))
    items.append(last)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    if run := item.config.stash.get(_run, None):
        run.begin(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if run := item.config.stash.get(_run, None):
        run.ended(report)
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    if run := config.stash.get(_run, None):
        run.stop()
        shutil.rmtree(run.folder, ignore_errors=True)
