"""Test that the workflows run what `.ci/run` runs, on every Python that the project supports."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ["make check", "make test"]


def commands_of(job: dict[str, Any]) -> list[str]:
    """The `make` commands of a job, without the Python that they are given."""
    runs = [step.get("run", "") for step in job["steps"]]
    return [run.removesuffix(" PYTHON=python") for run in runs if run.startswith("make ")]


def job_of(workflow: str, job: str) -> dict[str, Any]:
    text = (ROOT / ".github" / "workflows" / workflow).read_text()
    found: dict[str, Any] = yaml.safe_load(text)["jobs"][job]
    return found


def test_ci_run_checks_and_tests() -> None:
    script = (ROOT / ".ci" / "run").read_text()

    assert re.findall(r"^make .*$", script, re.MULTILINE) == COMMANDS


def test_every_change_is_checked_and_tested_on_each_python() -> None:
    job = job_of("ci.yml", "check-and-test")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert commands_of(job) == COMMANDS
    assert job["strategy"]["matrix"]["python"][0] == project["requires-python"].removeprefix(">=")


def test_new_dependencies_are_checked_and_tested_before_they_are_proposed() -> None:
    commands = commands_of(job_of("dependencies.yml", "update-locks"))

    assert commands == ["make lock ARGS=--upgrade", *COMMANDS]


@pytest.mark.parametrize("target", ["chaos", "bench"])
def test_long_runs_are_nightly(target: str) -> None:
    job = job_of("nightly.yml", "long-run")

    assert commands_of(job) == ["make ${{ matrix.target }}"]
    assert target in job["strategy"]["matrix"]["target"]
