"""A process's life, as a supervisor sees it."""

import json
import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, sys
from shared.runtime import run
from shared.environment import Port, for_service
from shared.errors import CannotStart
from shared.settings import Observability

class Settings(Observability):
    model_config = for_service("billing-worker")
    metrics_port: Port = 0

async def main(settings, stop):
    print("up", flush=True)
    if "fail" in sys.argv:
        raise ValueError("row of Ada")
    if "refuse" in sys.argv:
        raise CannotStart("remove .run/", code="migration_changed")
    await stop.wait()
    print("draining", flush=True)
    if "hang" in sys.argv:
        await asyncio.Event().wait()

run("billing-worker", Settings.load, main)
"""


@pytest.fixture
def started(tmp_path):
    processes = []

    def start(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path), "ZOHO_RELAY_ENV_FILE": "", **environment},
            cwd=tmp_path,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_until(process, word):
    lines = []
    while not lines or word not in lines[-1]:
        line = process.stdout.readline()
        assert line, f"ended before {word!r}"
        lines.append(line)
    return lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(started, number):
    process = started()
    read_until(process, "up")

    process.send_signal(number)

    assert process.wait(timeout=30) == 0
    assert "draining" in process.stdout.read()


def test_a_second_signal_does_not_wait_for_the_drain(started):
    process = started("hang")
    read_until(process, "up")
    process.send_signal(signal.SIGTERM)
    read_until(process, "draining")

    process.send_signal(signal.SIGTERM)

    assert process.wait(timeout=30) == 130


def test_an_error_nobody_caught_is_told_without_what_it_says(started):
    process = started("fail")

    out, _ = process.communicate(timeout=30)

    line = json.loads(out.splitlines()[-1])
    assert process.returncode == 1
    assert (line["event"], line["level"], line["error"]) == (
        "service failed",
        "critical",
        "ValueError",
    )
    assert "Ada" not in out


def test_bad_settings_are_named_and_end_it_with_code_2(started):
    process = started(METRICS_PORT="s3cret", LOG_LEVEL="LOUD")

    out, err = process.communicate(timeout=30)

    assert process.returncode == 2
    assert sorted(err.splitlines()) == [
        "billing-worker: LOG_LEVEL: must be one of 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
        "billing-worker: METRICS_PORT: must be a whole number",
    ]
    assert out == ""


def test_a_file_of_settings_that_cannot_be_read_ends_it_with_code_2(started, tmp_path):
    (tmp_path / ".env").write_bytes("LOG_LEVEL=INFO\n# für uns\n".encode("latin-1"))
    process = started(ZOHO_RELAY_ENV_FILE=str(tmp_path / ".env"))

    _, err = process.communicate(timeout=30)

    assert process.returncode == 2
    assert err.splitlines() == [
        f"billing-worker: {tmp_path}/.env, line 2: is not UTF-8: save the file in that encoding"
    ]


def test_what_only_a_person_can_change_is_named_and_ends_it_with_code_2(started):
    process = started("refuse")

    _, err = process.communicate(timeout=30)

    assert process.returncode == 2
    assert err.splitlines() == ["billing-worker: remove .run/ (migration_changed)"]
