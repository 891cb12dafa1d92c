"""Keeps a stack's processes running: what the plan names is started, what dies is started again.

Started detached by `Stack`. Told what to do by files in the stack's folder, so that nothing but the
folder is needed to reach it: `plan.json` is what should run (read again when it changes),
`stopped/<name>` holds one process down on purpose, `killed/<name>` tells the pid of one whose death
says nothing of how it starts, SIGTERM stops everything, services first.
"""

import hashlib
import math
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from deploy.local.processes import SERVERS, ProcessSpec, read_plan

TICK_S = 0.1
LIVED_S = 3.0  # a process that lived this long did not fail at its start
LONGEST_DELAY_S = 10.0
HOPELESS = 4  # deaths in a row, each within seconds of the start
LOG_BYTES = 64 * 1024 * 1024  # and once as much for the one before
ROTATE_EVERY_S = 5.0
REFUSED = 2  # exit code of a start that a person has to make possible first (shared.runtime.Exit)


class RotatedLog:
    """A process's log: `<name>.log`, and the one before it as `<name>.log.1`.

    The process goes on writing to the file that it has open. So the log is copied and emptied, and
    lines that are written between the two are lost.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def open(self) -> BinaryIO:
        """To append to it: after it was emptied, the next line is its first."""
        return self._file.open("ab")

    def rotate(self) -> None:
        """Begin anew when it is large."""
        try:
            if self._file.stat().st_size < LOG_BYTES:
                return
            shutil.copyfile(self._file, self._file.with_name(f"{self._file.name}.1"))
            os.truncate(self._file, 0)
        except OSError as error:  # of a full disk, which rotating cannot help
            say(f"{self._file.name} is not rotated ({type(error).__name__})")


class Child:
    """One process and its fate: start, notice its death, start again, stop."""

    def __init__(self, spec: ProcessSpec, folder: Path) -> None:
        self.spec = spec
        self._folder = folder
        self._log = RotatedLog(folder / "logs" / f"{spec.name}.log")
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._rotate_at = 0.0
        self._not_before = 0.0
        self._deaths = 0  # in a row, each soon after the start
        self._stop_by: float | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def tick(self, *, wanted: bool) -> None:
        """Bring it one step nearer to what is wanted. Never blocks."""
        now = time.monotonic()
        if now >= self._rotate_at:
            self._rotate_at = now + ROTATE_EVERY_S
            self._log.rotate()
        if self._process is not None and (code := self._process.poll()) is not None:
            self._ended(self._process.pid, code, now)
        if self._process is None:
            if wanted and now >= self._not_before:
                self._start(now)
        elif not wanted or self._stop_by is not None:
            self._stop(self._process, now)
        if self._process is None and not wanted:
            self._not_before = 0.0  # whoever starts it again has changed something

    def _start(self, now: float) -> None:
        spec = self.spec
        with self._log.open() as out:
            self._process = subprocess.Popen(  # noqa: S603
                spec.argv,
                env={**spec.env, "ZOHO_RELAY_STACK": str(self._folder)},
                cwd=spec.cwd,
                user=spec.user,
                group=pwd.getpwnam(spec.user).pw_gid if spec.user else None,
                extra_groups=[] if spec.user else None,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started, self._stop_by = now, None
        _replace(self._folder / "pids" / f"{spec.name}.pid", str(self._process.pid))
        say(f"{spec.name} started, pid {self._process.pid}")

    def _stop(self, process: "subprocess.Popen[bytes]", now: float) -> None:
        if self._stop_by is None:
            self._stop_by = now + self.spec.stop_timeout_s
            process.send_signal(self.spec.stop_signal)
        elif now > self._stop_by:
            say(f"{self.spec.name} did not stop in {self.spec.stop_timeout_s:.0f} s: killed")
            process.kill()

    def _ended(self, pid: int, code: int, now: float) -> None:
        on_purpose, self._process = self._stop_by is not None, None
        (self._folder / "pids" / f"{self.spec.name}.pid").unlink(missing_ok=True)
        if on_purpose:
            say(f"{self.spec.name} stopped")
            self._deaths, self._not_before = 0, 0.0
            self._clean_up()
        elif code == REFUSED and self.spec.stage != SERVERS:
            self._deaths, self._not_before = HOPELESS, math.inf
            say(f"{self.spec.name} refused to start (exit {code}), and is left down")
        else:
            at_its_start = now - self._started < LIVED_S and not self._was_killed(pid)
            self._deaths = self._deaths + 1 if at_its_start else 1
            delay = 0.0 if self._deaths == 1 else min(0.25 * 2**self._deaths, LONGEST_DELAY_S)
            self._not_before = now + delay
            say(f"{self.spec.name} died (exit {code}); again in {delay:g} s")
        _replace(self._folder / "deaths" / self.spec.name, str(self._deaths))

    def _was_killed(self, pid: int) -> bool:
        killed = self._folder / "killed" / self.spec.name
        return killed.exists() and killed.read_text() == str(pid)

    def _clean_up(self) -> None:
        if self.spec.after_stop:
            try:
                subprocess.run(  # noqa: S603
                    self.spec.after_stop,
                    env=self.spec.env,
                    capture_output=True,
                    check=False,
                    timeout=10,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                say(f"{self.spec.name}: cleaning up failed ({type(error).__name__})")


class Supervisor:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plan = b""
        self._wanted: dict[str, ProcessSpec] = {}
        self._children: dict[str, Child] = {}
        self._servers_were_ready = False

    def tick(self) -> None:
        self._read_plan()
        for name in {**self._wanted, **self._children}:
            self._tick(name)
        if all(child.spec == self._wanted.get(name) for name, child in self._children.items()):
            _replace(self._folder / "applied", hashlib.sha256(self._plan).hexdigest())

    def stop(self) -> None:
        """Stop stage by stage, the last one first: a service drains while its servers still run."""
        for stage in sorted({child.spec.stage for child in self._children.values()}, reverse=True):
            group = [child for child in self._children.values() if child.spec.stage == stage]
            while any(child.is_running for child in group):
                for child in self._children.values():
                    child.tick(wanted=child.spec.stage < stage and child.is_running)
                time.sleep(TICK_S / 2)

    def _read_plan(self) -> None:
        plan = (self._folder / "plan.json").read_bytes()
        if plan != self._plan:
            self._plan = plan
            self._wanted = {spec.name: spec for spec in read_plan(plan)}
            self._servers_were_ready = False

    def _tick(self, name: str) -> None:
        spec, child = self._wanted.get(name), self._children.get(name)
        if child is not None and child.spec != spec and not child.is_running:
            del self._children[name]
            child = None
        if child is None:
            if spec is None:
                return
            child = self._children[name] = Child(spec, self._folder)
        held_down = (self._folder / "stopped" / name).exists()
        wanted = child.spec == spec and not held_down
        if wanted and not child.is_running and not self._may_start(child.spec):
            return
        child.tick(wanted=wanted)

    def _may_start(self, spec: ProcessSpec) -> bool:
        """Servers first. Only once: services have to bear a server that goes away later."""
        if spec.stage == SERVERS or self._servers_were_ready:
            return True
        servers = (each for each in self._wanted.values() if each.stage == SERVERS)
        self._servers_were_ready = all(each.is_ready() for each in servers)
        return self._servers_were_ready


def say(text: str) -> None:
    print(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}", flush=True)


def _replace(file: Path, text: str) -> None:
    try:
        if file.read_text() == text:
            return
    except FileNotFoundError:
        pass
    new = file.with_name(f".{file.name}.new")
    new.write_text(text)
    new.replace(file)


def main(folder: Path, *, tied: bool) -> None:
    """Run until SIGTERM. When `tied`, also until standard input ends: until its owner is gone."""
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    supervisor = Supervisor(folder)
    say(f"supervisor started, pid {os.getpid()}")
    try:
        while not stopping:
            supervisor.tick()
            if tied:
                ended, _, _ = select.select([sys.stdin], [], [], TICK_S)
                stopping = stopping or bool(ended and not os.read(sys.stdin.fileno(), 1))
            else:
                time.sleep(TICK_S)
    finally:
        supervisor.stop()
        say("everything stopped")


if __name__ == "__main__":
    main(Path(sys.argv[1]), tied=sys.argv[2:] == ["--tied"])
