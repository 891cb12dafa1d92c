"""Describe the processes that a stack runs, and see when each is ready."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

# As shared/observability/health.py has it. Importing that would load a server into the supervisor.
_RECOVERY_CHECK = "recovery"

SERVERS, SANDBOX, TOKENS, AFTER_TOKENS = range(4)  # started upwards, stopped downwards


@dataclass(frozen=True)
class ProcessSpec:
    """One process: `name` is `<service>.<n>`. `ready` is a URL that answers 200 (`http://…`),
    ports that accept (`tcp:1,2`) or a PostgreSQL that lets clients in (`postgres:1`)."""

    name: str
    argv: list[str]
    env: dict[str, str]
    stage: int
    ready: str
    cwd: str = "/"
    user: str | None = None
    stop_signal: int = signal.SIGTERM
    stop_timeout_s: float = 40.0
    after_stop: list[str] = field(default_factory=list)

    def is_ready(self) -> bool:
        kind, _, where = self.ready.partition(":")
        if kind == "tcp":
            return all(_accepts(int(port)) for port in where.split(","))
        if kind == "postgres":
            return _lets_clients_in(int(where))
        return _answers_200(self.ready)

    def stands(self) -> bool:
        """Whether it runs, and waits for an operator because the database was restored."""
        return self.ready.endswith("/readyz") and _RECOVERY_CHECK in _failing(self.ready)


def write_plan(file: Path, specs: Iterable[ProcessSpec]) -> bytes:
    """Put the plan where the supervisor looks, whole or not at all. Readable by its owner only."""
    content = json.dumps([asdict(spec) for spec in specs], indent=1).encode()
    write_private(file, content)
    return content


def read_plan(content: bytes) -> list[ProcessSpec]:
    return [ProcessSpec(**entry) for entry in json.loads(content)]


def write_private(file: Path, content: bytes) -> None:
    """Replace `file` atomically. Mode 0600 from its first moment."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600, exist_ok=False)
    new.write_bytes(content)
    new.replace(file)


def read_pid(file: Path) -> int | None:
    """The process a pid file names, None when there is none or it is gone."""
    try:
        pid = int(file.read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return None if _is_zombie(pid) else pid


def belongs_to(pid: int, folder: Path) -> bool:
    """Whether a process was started by the stack of `folder`, and not by chance has its old pid."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # without a /proc nothing better is known
    except OSError:
        return False
    return f"ZOHO_RELAY_STACK={folder}".encode() in environment.split(b"\0")


def _is_zombie(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state == "Z"


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def _answers_200(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:  # noqa: S310  (our own, on loopback)
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _failing(url: str) -> list[str]:
    """The checks that a service says fail. None when it does not answer."""
    try:
        with urlopen(url, timeout=5):  # noqa: S310  (our own, on loopback)
            return []
    except HTTPError as error:
        failing: list[str] = json.loads(error.read()).get("failing", [])
        return failing
    except (URLError, OSError):
        return []


def _lets_clients_in(port: int) -> bool:
    """PostgreSQL's port opens before recovery ends. Only a start-up message shows the difference.

    Source: https://www.postgresql.org/docs/15/protocol-flow.html#id-1.10.6.7.3
    """
    parameters = b"user\0postgres\0database\0postgres\0\0"
    hello = struct.pack("!II", 8 + len(parameters), 196_608) + parameters
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(hello)
            return connection.recv(1) == b"R"  # it asks who we are. An "E" says: not yet
    except OSError:
        return False
