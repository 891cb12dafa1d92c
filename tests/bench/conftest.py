"""Show what is measured, and nothing else: the log lines of a run go to a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from deploy.local.stack import Stack
from tests.bench.figures import Figures, table
from tests.kit.servers import TEST_STACK

LOG = Path(__file__).resolve().parents[2] / ".run" / "bench.log"

_figures: pytest.StashKey[Figures] = pytest.StashKey()


@pytest.fixture(scope="session")
def figures(request: pytest.FixtureRequest) -> Figures:
    """Takes the figures. The table at the end of the run shows each beside its mark."""
    config = request.config
    capture = config.pluginmanager.getplugin("capturemanager")
    terminal = config.pluginmanager.getplugin("terminalreporter")

    def show(text: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(text)

    return config.stash.setdefault(_figures, Figures(show))


@pytest.fixture(scope="module")
def durable_postgres_url() -> Iterator[str]:
    """A PostgreSQL that syncs to disk, as production's does: that of the other tests need not."""
    with Stack(TEST_STACK.parent / "bench", services={}, sandbox=False) as stack:
        yield stack.env["POSTGRES_URL"]


@pytest.fixture
async def stack() -> AsyncIterator[Stack]:
    """The five services and the sandbox, as `make up` has them, for one test."""
    stack = Stack(TEST_STACK.parent / "bench-system")
    await asyncio.to_thread(stack.discard)
    await asyncio.to_thread(stack.start)
    yield stack
    await asyncio.to_thread(stack.discard)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if item.get_closest_marker("bench") and report.when == "teardown":
        LOG.parent.mkdir(exist_ok=True)
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"== {item.nodeid}\n{report.capstdout}{report.capstderr}")
    return report


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if (figures := config.stash.get(_figures, None)) is None or not figures.all:
        return
    terminalreporter.section("figures")
    for line in table(figures.all):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"log lines: {LOG}")
