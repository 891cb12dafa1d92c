"""Test that tests share code only by way of tests/kit and the modules of their own folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.shards import shards

TESTS = Path(__file__).parent


def test_no_test_imports_from_a_module_that_holds_tests() -> None:
    assert [f"{file}: {name}" for file, name in imports() if is_test(module(name))] == []


def test_a_conftest_is_imported_only_in_its_own_folder() -> None:
    assert [
        f"{file}: {name}"
        for file, name in imports()
        if module(name).name == "conftest.py" and module(name).parent not in file.parents
    ] == []


def test_every_import_from_the_tests_leads_to_a_module() -> None:
    assert [f"{file}: {name}" for file, name in imports() if not module(name).exists()] == []


def test_make_test_runs_every_test_once() -> None:
    files = [str(file.relative_to(TESTS.parent)) for file in TESTS.rglob("test_*.py")]
    runs = {
        file: [entry for shard in shards() for entry in shard if f"{file}/".startswith(f"{entry}/")]
        for file in files
    }

    assert files
    assert {file: entries for file, entries in runs.items() if len(entries) != 1} == {}


def imports() -> Iterator[tuple[Path, str]]:
    """Every module of the tests that another one imports, and the file that does."""
    for file in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                yield file, node.module or ""


def module(name: str) -> Path:
    path = TESTS.parent.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def is_test(file: Path) -> bool:
    return file.name.startswith("test_")
