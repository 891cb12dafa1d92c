"""Test what the supervisor promises about the processes that it keeps."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from deploy.local import supervisor
from deploy.local.plan import BadReplicas, parse_replicas
from deploy.local.processes import read_pid
from deploy.local.stack import ROOT, Stack, StackFailed
from tests.kit.dummy_service import DUMMY
from tests.local_stack.conftest import StackOf


def test_a_killed_process_is_started_again(stack_of: StackOf) -> None:
    stack = stack_of()
    stack.start()

    killed = stack.kill("dummy")
    stack.wait_ready("dummy", not_pid=killed)

    assert stack.pid("dummy") not in (None, killed)


def test_each_replica_has_its_own_port_pid_file_and_log(stack_of: StackOf) -> None:
    stack = stack_of(replicas={"dummy": 2})
    stack.start()

    urls = stack.env["METRICS_URLS"].split(",")
    pids = {(stack.folder / "pids" / f"dummy.{n}.pid").read_text() for n in (1, 2)}

    assert len(set(urls)) == len(pids) == 2
    for n in (1, 2):
        assert "ready" in (Path(stack.env["LOG_DIR"]) / f"dummy.{n}.log").read_text()


def test_stopping_lets_services_drain_and_leaves_nothing_running(stack_of: StackOf) -> None:
    stack = stack_of()
    stack.start()
    pid, supervisor = stack.pid("dummy"), read_pid(stack.folder / "supervisor.pid")

    stack.stop()

    assert (stack.folder / "logs" / "dummy.1.log").read_text().endswith("drained\n")
    assert not any(_lives(each) for each in (pid, supervisor))


def test_a_service_that_cannot_start_is_named_with_its_last_lines(stack_of: StackOf) -> None:
    stack = stack_of(services={"dummy": (DUMMY, "dies")})

    with pytest.raises(StackFailed, match=r"dummy\.1 (?s:.*)ZOHO_ORGANIZATION_ID: is not set"):
        stack.start()

    assert not _lives(read_pid(stack.folder / "supervisor.pid"))


def test_a_service_that_runs_out_of_memory_at_each_start_is_named_too(stack_of: StackOf) -> None:
    stack = stack_of(services={"dummy": (DUMMY, "is-killed")})

    with pytest.raises(StackFailed, match=r"dummy\.1 dies at its start(?s:.*)reading all of it"):
        stack.start()


def test_who_is_killed_again_and_again_is_not_taken_for_one_that_cannot_start(
    stack_of: StackOf,
) -> None:
    stack = stack_of()
    stack.start()

    killed = None
    for _ in range(supervisor.HOPELESS + 1):
        stack.wait_ready("dummy", not_pid=killed)
        killed = stack.kill("dummy")

    stack.wait_ready("dummy", not_pid=killed)


def test_a_service_that_refuses_to_start_is_named_at_once_and_not_tried_again(
    stack_of: StackOf,
) -> None:
    stack = stack_of(services={"dummy": (DUMMY, "refuses")})

    with pytest.raises(StackFailed, match=r"dummy\.1 (?s:.*)remove the folder"):
        stack.start()

    log = (stack.folder / "logs" / "dummy.1.log").read_text()
    assert log.count("remove the folder") == 1


def test_a_process_stopped_on_purpose_stays_down_until_it_is_started(stack_of: StackOf) -> None:
    stack = stack_of()
    stack.start()

    stack.stop_process("dummy")
    assert stack.pid("dummy") is None

    stack.start_process("dummy")
    assert stack.pid("dummy") is not None


def test_starting_again_with_more_replicas_leaves_the_running_ones_alone(stack_of: StackOf) -> None:
    stack_of().start()
    first = stack_of().pid("dummy")

    stack = stack_of(replicas={"dummy": 2})
    stack.start()

    assert stack.pid("dummy", 1) == first
    assert stack.pid("dummy", 2) is not None


def test_starting_again_with_other_settings_starts_the_services_anew(stack_of: StackOf) -> None:
    stack_of().start()
    before = stack_of().pid("dummy")

    stack = stack_of(settings={"LOG_LEVEL": "DEBUG"})
    stack.start()

    assert stack.pid("dummy") != before
    with urlopen(stack.env["METRICS_URLS"]) as answer:  # noqa: S310
        assert json.load(answer)["environment"]["LOG_LEVEL"] == "DEBUG"


def test_whoever_has_the_folder_can_stop_the_stack(stack_of: StackOf) -> None:
    stack = stack_of()
    stack.start()
    pid = stack.pid("dummy")

    Stack(stack.folder).stop()

    assert not _lives(pid)


def test_services_outlive_a_killed_supervisor_only_until_the_next_start(stack_of: StackOf) -> None:
    stack = stack_of()
    stack.start()
    supervisor, orphan = read_pid(stack.folder / "supervisor.pid"), stack.pid("dummy")
    assert supervisor is not None
    os.kill(supervisor, 9)
    while _lives(supervisor):  # it gets the signal, and dies when it is scheduled
        time.sleep(0.01)

    stack_of().start()

    assert not _lives(orphan)
    assert stack.pid("dummy") not in (None, orphan)


def test_a_tied_stack_ends_with_its_owner_however_that_ends(tmp_path: Path) -> None:
    arguments = f"services={{'dummy': ({DUMMY!r},)}}, sandbox=False, amqp_url='x', database_url='y'"
    owner = (
        "import os, pathlib; from deploy.local.stack import Stack;"
        f"Stack(pathlib.Path({str(tmp_path)!r}), {arguments}).start(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", owner], cwd=ROOT, check=False)

    by = time.monotonic() + 30
    supervisor = int((tmp_path / "supervisor.pid").read_text())
    while _lives(supervisor) and time.monotonic() < by:
        time.sleep(0.05)

    assert not _lives(supervisor)
    assert not list(tmp_path.glob("pids/*.pid"))


def test_replicas_are_read_from_the_command_line() -> None:
    assert parse_replicas("billing-worker=2,token-service=3") == {
        "billing-worker": 2,
        "token-service": 3,
    }
    assert parse_replicas("") == {}


@pytest.mark.parametrize("text", ["billing-worker", "billing-worker=", "billing-worker=-1"])
def test_replicas_that_are_no_number_are_refused(text: str) -> None:
    with pytest.raises(BadReplicas, match="billing-worker"):
        parse_replicas(text)


def test_replicas_of_an_unknown_service_are_refused_by_name(stack_of: StackOf) -> None:
    with pytest.raises(BadReplicas, match="biling-worker"):
        stack_of(replicas={"biling-worker": 2}).start()


def _lives(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def test_a_large_log_is_begun_anew_and_its_last_part_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(supervisor, "LOG_BYTES", 100)
    log = supervisor.RotatedLog(tmp_path / "dummy.1.log")
    with log.open() as out:
        out.write(b"short\n")
        out.flush()
        log.rotate()
        assert (tmp_path / "dummy.1.log").read_bytes() == b"short\n"
        out.write(b"x" * 100)
        out.flush()
        log.rotate()
        out.write(b"after\n")

    assert (tmp_path / "dummy.1.log").read_bytes() == b"after\n"
    assert (tmp_path / "dummy.1.log.1").read_bytes() == b"short\n" + b"x" * 100


def test_the_logs_of_a_running_stack_are_rotated(stack_of: StackOf, monkeypatch) -> None:
    stack = stack_of()
    stack.start()
    log = stack.folder / "logs" / "dummy.1.log"
    with log.open("ab") as file:
        file.truncate(supervisor.LOG_BYTES)  # sparse: it takes no space

    deadline = time.monotonic() + 60
    while log.stat().st_size >= supervisor.LOG_BYTES and time.monotonic() < deadline:
        time.sleep(0.1)

    assert log.stat().st_size < supervisor.LOG_BYTES
    assert log.with_name("dummy.1.log.1").exists()
