"""Make a machine ready: what is missing is installed, or named with the command that installs it.

Runs before the virtual environment exists, so with nothing but the standard library. When nothing
is missing it takes a moment: every `make` target that needs something starts with it.

    python3 -m deploy.local.bootstrap [--servers] [--tests]
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local import debian, postgres, rabbitmq

ROOT = Path(__file__).resolve().parent.parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements-dev.lock"
OLDEST_PYTHON = (3, 11)


class CannotGoOn(Exception):
    """Something is missing that only a person can put there. The text says what to do."""


def main(arguments: list[str]) -> int:
    (ROOT / ".run").mkdir(exist_ok=True)
    with (ROOT / ".run" / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two `make` at once do not build one environment
        try:
            _refuse_old_python()
            _have_packages(servers="--servers" in arguments, tests="--tests" in arguments)
            _have_environment()
        except (CannotGoOn, debian.CannotInstall) as error:
            print(f"zoho-relay: {error}", file=sys.stderr)
            return 1
    return 0


def _refuse_old_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise CannotGoOn(
            f"Python {sys.version.split()[0]} is too old; 3.11 or newer is needed."
            " Name another one: make PYTHON=python3.11 …"
        )


def _have_packages(*, servers: bool, tests: bool) -> None:
    missing = []
    if not VENV.exists() and not _can_make_environments():
        missing.append(debian.Missing("python3-venv", "Python's venv module with ensurepip"))
    if servers and not _installed(rabbitmq.server_program):
        missing.append(debian.Missing("rabbitmq-server", "RabbitMQ 3.10 or newer"))
    if servers and not _installed(postgres.binaries):
        missing.append(debian.Missing("postgresql", f"PostgreSQL {postgres.OLDEST} or newer"))
    if tests and not shutil.which("promtool"):
        missing.append(debian.Missing("prometheus", "promtool, which checks our metrics"))
    if tests and not shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        missing.append(debian.Missing("pgbouncer", "pgbouncer, which the services are tried with"))
    if missing:
        debian.install(missing)


def _installed(find: object) -> bool:
    assert callable(find)  # noqa: S101
    try:
        find()
    except postgres.NotInstalled:
        return False
    return True


def _can_make_environments() -> bool:
    argv = [sys.executable, "-c", "import ensurepip, venv"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0  # noqa: S603


def _have_environment() -> None:
    """`.venv` with exactly what the lock names, and the project itself. A stamp says it is so."""
    stamp = VENV / ".complete"
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    python = VENV / "bin" / "python"
    usable = python.exists() and _runs(python)
    if usable and stamp.exists() and stamp.read_text() == wanted:
        return
    if not usable:
        if not _can_make_environments():  # a broken .venv hid that it is missing
            debian.install([debian.Missing("python3-venv", "Python's venv module")])
        _say("making .venv")
        _run(sys.executable, "-m", "venv", "--clear", str(VENV))
    stamp.unlink(missing_ok=True)
    _say("installing what requirements-dev.lock names")
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "-qq")
    _run(*pip, "install", "--require-hashes", "-r", str(LOCK))
    _run(*pip, "install", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    stamp.write_text(wanted)


def _runs(python: Path) -> bool:
    code = f"import sys; sys.exit(sys.version_info < {OLDEST_PYTHON})"
    return subprocess.run([str(python), "-c", code], check=False).returncode == 0  # noqa: S603


def _run(*argv: str) -> None:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    if subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode != 0:  # noqa: S603
        raise CannotGoOn(f"this failed: {' '.join(argv)}")


def _say(text: str) -> None:
    print(f"zoho-relay: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
