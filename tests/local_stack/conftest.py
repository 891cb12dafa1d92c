"""Build small stacks of dummy services. The real servers have tests of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import Stack
from tests.kit.dummy_service import DUMMY

StackOf = Callable[..., Stack]


@pytest.fixture(autouse=True)
def _no_exported_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("ZOHO_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def stack_of(tmp_path: Path) -> Iterator[StackOf]:
    """Make a stack in this test's folder without servers and without the sandbox."""
    made: list[Stack] = []

    def make(**arguments: Any) -> Stack:
        defaults: dict[str, Any] = {
            "services": {"dummy": (DUMMY,)},
            "sandbox": False,
            "amqp_url": "amqp://somewhere/",
            "database_url": "postgresql://somewhere/relay",
        }
        stack = Stack(tmp_path / "stack", **{**defaults, **arguments})
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.discard()
