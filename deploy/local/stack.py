"""A whole system on this machine without Docker: servers, sandbox and services, in one folder.

The folder decides which stack it is. Several can run side by side, each with its own servers,
ports, secrets and data. Whoever has the folder can stop it: `Stack(folder).stop()`.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import Request, urlopen

from deploy.local import environment, postgres
from deploy.local.plan import SERVICES, StackPlan, StackRequest, make_plan
from deploy.local.processes import (
    ProcessSpec,
    belongs_to,
    read_pid,
    read_plan,
    write_plan,
    write_private,
)
from deploy.local.supervisor import HOPELESS

ROOT = Path(__file__).resolve().parent.parent.parent
_FOLDERS = ("logs", "pids", "stopped", "killed", "deaths")


class StackFailed(Exception):
    """A part of the stack did not become ready. The text names it and ends with its last lines."""


class Stack:
    """The stack of `folder`.

    `replicas`: how many of each service, by name (default one).
    `services`: name → arguments of Python, when not the five. `{}` for servers alone.
    `sandbox`: False for none. `durable`: False lets PostgreSQL skip its syncs, and keep
    its data in memory. It is gone at the end.
    `settings`: further environment of all services.
    `env_file`: a `.env` that points at the real Zoho. Then there is no sandbox.
    `amqp_url`, `database_url`: servers to use instead of its own.
    `tied`: it ends with the process that started it, however that ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: Mapping[str, int] | None = None,
        services: Mapping[str, Sequence[str]] = SERVICES,
        sandbox: bool = True,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        env_file: Path | None = None,
        amqp_url: str | None = None,
        database_url: str | None = None,
        tied: bool = True,
    ) -> None:
        self.folder = folder.resolve()
        self._wish = StackRequest(
            root=ROOT,
            folder=self.folder,
            replicas=dict(replicas or {}),
            services=dict(services),
            sandbox=sandbox and env_file is None,
            durable=durable,
            settings=dict(settings or {}),
            env_file=env_file,
            amqp_url=amqp_url,
            database_url=database_url,
        )
        self._tied = tied
        self._plan: StackPlan | None = None
        self._lifeline: subprocess.Popen[bytes] | None = None

    @property
    def env(self) -> dict[str, str]:
        """Return what `stack.env` says: where everything is. Empty before the first start."""
        file = self.folder / "stack.env"
        return environment.read_env_file(file) if file.exists() else {}

    @property
    def settings(self) -> dict[str, str]:
        """All settings together, secrets included, as `zoho-relay` needs them (`settings.env`)."""
        file = self.folder / "settings.env"
        return environment.read_env_file(file) if file.exists() else {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, *, timeout_s: float = 120.0) -> None:
        """Start what does not run, restart what was changed, return when all of it is ready.

        A worker that waits for an operator after a restore (`standing`) counts as ready.

        Raises StackFailed (everything is stopped again), ForeignZoho, NotInstalled.
        """
        for name in _FOLDERS:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with self._alone():
            self._plan = plan = make_plan(self._wish, running=self._supervisor() is not None)
            try:
                self._run(plan, timeout_s)
            except StackFailed:
                self._stop()
                raise

    def stop(self) -> None:
        """Stop all, services first. Data and logs stay, except for PostgreSQL's data in memory.

        Nothing happens when nothing runs.
        """
        if self.folder.exists():
            with self._alone():
                self._stop()
                postgres.forget_in_memory(self.folder)

    def discard(self) -> None:
        """Stop all and delete everything: data, logs, secrets, ports."""
        self.stop()
        elsewhere = (self.folder / "postgres").resolve()
        shutil.rmtree(elsewhere, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self, service: str, n: int = 1) -> int | None:
        """The process of a replica, None while it is down."""
        return read_pid(self.folder / "pids" / f"{service}.{n}.pid")

    def kill(self, service: str, n: int = 1, how: int = signal.SIGKILL) -> int:
        """Kill a replica. Returns the pid it had. The supervisor starts it again."""
        pid = self.pid(service, n)
        if pid is None:
            raise ProcessLookupError(f"{service}.{n} is not running")
        (self.folder / "killed" / f"{service}.{n}").write_text(str(pid))
        os.kill(pid, how)
        return pid

    def stop_process(self, service: str, n: int = 1, *, timeout_s: float = 90.0) -> None:
        """Stop a process (`rabbitmq` and `postgres` too) and keep it down until `start_process`."""
        (self.folder / "stopped" / f"{service}.{n}").touch()
        self._wait(lambda: self.pid(service, n) is None, f"{service}.{n}", timeout_s)

    def start_process(self, service: str, n: int = 1, *, timeout_s: float = 90.0) -> None:
        (self.folder / "stopped" / f"{service}.{n}").unlink(missing_ok=True)
        self.wait_ready(service, n, timeout_s=timeout_s)

    def wait_ready(
        self, service: str, n: int = 1, *, not_pid: int | None = None, timeout_s: float = 60.0
    ) -> None:
        """Return once the replica runs (as another process than `not_pid`) and is ready."""
        spec = self._spec(f"{service}.{n}")

        def ready() -> bool:
            return self.pid(service, n) not in (None, not_pid) and spec.is_ready()

        self._wait(ready, spec.name, timeout_s)

    def _run(self, plan: StackPlan, timeout_s: float) -> None:
        for marker in (*self.folder.glob("stopped/*"), *self.folder.glob("deaths/*")):
            marker.unlink(missing_ok=True)  # a supervisor may be replacing it
        write_private(self.folder / "settings.env", _lines(plan.settings))
        write_private(self.folder / "stack.env", _lines(plan.env))
        content = write_plan(self.folder / "plan.json", plan.specs)
        if self._supervisor() is None:
            self._stop()  # orphans of a supervisor that was killed
            self._start_supervisor()
        applied, wanted = self.folder / "applied", hashlib.sha256(content).hexdigest()
        self._wait(
            lambda: applied.exists() and applied.read_text() == wanted, "supervisor", timeout_s
        )
        by = time.monotonic() + timeout_s
        in_order = sorted(plan.specs, key=lambda each: each.stage)
        # All at once: one that was ready may have died while another was waited for.
        while not all(self._is_up(spec)() for spec in in_order):
            for spec in in_order:
                self._wait(self._is_up(spec), spec.name, by - time.monotonic())
        if plan.targets:
            _put(f"{plan.env['SANDBOX_URL']}/_sandbox/targets", plan.targets)

    def standing(self) -> list[str]:
        """The processes that run and wait for an operator, because the database was restored."""
        plan = read_plan((self.folder / "plan.json").read_bytes())
        return [spec.name for spec in plan if spec.stands()]

    def _is_up(self, spec: ProcessSpec) -> Callable[[], bool]:
        return lambda: (
            read_pid(self.folder / "pids" / f"{spec.name}.pid") is not None
            and (spec.is_ready() or spec.stands())
        )

    def _start_supervisor(self) -> None:
        argv = [sys.executable, "-m", "deploy.local.supervisor", str(self.folder)]
        with (self.folder / "logs" / "supervisor.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603
                [*argv, "--tied"] if self._tied else argv,
                cwd=ROOT,
                env={**environment.base(), "ZOHO_RELAY_STACK": str(self.folder)},
                stdin=subprocess.PIPE if self._tied else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._lifeline = process
        (self.folder / "supervisor.pid").write_text(str(process.pid))

    def _supervisor(self) -> int | None:
        pid = read_pid(self.folder / "supervisor.pid")
        return pid if pid is not None and belongs_to(pid, self.folder) else None

    def _stop(self) -> None:
        supervisor = self._supervisor()
        if supervisor is not None:
            os.kill(supervisor, signal.SIGTERM)
            self._until(lambda: self._supervisor() is None, 150)
        for how, within_s in ((signal.SIGTERM, 30), (signal.SIGKILL, 5)):  # none, if all went well
            for pid in self._leftovers():
                with suppress(ProcessLookupError):
                    os.kill(pid, how)
            self._until(lambda: not self._leftovers(), within_s)
        if self._lifeline is not None:
            self._lifeline.communicate()
            self._lifeline = None

    def _leftovers(self) -> list[int]:
        files = (*self.folder.glob("pids/*.pid"), self.folder / "supervisor.pid")
        pids = (pid for file in files if (pid := read_pid(file)) is not None)
        return [pid for pid in pids if belongs_to(pid, self.folder)]

    def _spec(self, name: str) -> ProcessSpec:
        plan = read_plan((self.folder / "plan.json").read_bytes())
        return next(spec for spec in plan if spec.name == name)

    def _wait(self, condition: Callable[[], bool], name: str, timeout_s: float) -> None:
        died = self.folder / "deaths" / name
        by = time.monotonic() + timeout_s
        while not condition():
            hopeless = died.exists() and int(died.read_text() or 0) >= HOPELESS
            if hopeless or time.monotonic() > by:
                why = "dies at its start" if hopeless else f"not ready after {timeout_s:.0f} s"
                raise StackFailed(f"{name} {why}. Its last lines:\n{self._last_lines(name)}")
            time.sleep(0.05)

    def _last_lines(self, name: str, count: int = 25) -> str:
        log = self.folder / "logs" / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines() if log.exists() else ["(no log)"]
        return "\n".join(f"  {line}" for line in lines[-count:])

    @staticmethod
    def _until(condition: Callable[[], bool], timeout_s: float) -> None:
        by = time.monotonic() + timeout_s
        while not condition() and time.monotonic() < by:
            time.sleep(0.05)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One start or stop at a time."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _lines(values: Mapping[str, str]) -> bytes:
    return "".join(f"{name}={value}\n" for name, value in values.items()).encode()


def _put(url: str, body: object) -> None:
    request = Request(  # noqa: S310  (the sandbox, on loopback)
        url,
        method="PUT",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    urlopen(request, timeout=10).close()  # noqa: S310
