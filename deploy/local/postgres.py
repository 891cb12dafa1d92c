"""A private PostgreSQL: data of its own, TCP on loopback only, passwords by SCRAM.

PostgreSQL refuses to run as root. As root it is run as another user, on a data folder which that
user owns. Where it cannot reach the stack's folder (a checkout below a home of mode 0700) the data
lies in /var/tmp, linked from the folder. Data that need not last lies in memory, where there is
room for it.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.local.processes import SERVERS, ProcessSpec

OLDEST = 14
DATABASE = ROLE = "relay"
# Tests make and drop a database each, of some hundred files. On ext4 that takes longer the more
# files were deleted in the last seconds.
_MEMORY = Path("/dev/shm")  # noqa: S108  (owned, mode 0700)
_ROOM_BYTES = 2 * 2**30
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


class NotInstalled(Exception):
    """A program that the stack needs is not on this machine."""


def binaries(major: int | None = None) -> Path:
    """The folder of PostgreSQL's programs: of `major` when given, else the newest.

    Raises NotInstalled when there is none that is new enough.
    """
    installed = {version: folder for folder in _candidates() if (version := _version(folder))}
    fitting = [version for version in installed if version >= OLDEST and major in (None, version)]
    if not fitting:
        raise NotInstalled(f"PostgreSQL {major or f'{OLDEST} or newer'} (initdb, postgres)")
    return installed[max(fitting)]


def prepare(
    folder: Path,
    port: int,
    secrets: Mapping[str, str],
    *,
    durable: bool,
    max_connections: int = 300,
) -> tuple[ProcessSpec, Path]:
    """Make the data folder if there is none. How to run the server, and where its data is."""
    user = _server_user()
    data = _place(folder, user, durable=durable)
    if not (data / "PG_VERSION").exists():
        _initialize(data, user, secrets)
    major = int((data / "PG_VERSION").read_text())
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": max_connections,
        "shared_buffers": "64MB",
        "fsync": "on" if durable else "off",
        "max_wal_size": "1GB" if durable else "256MB",
        # Open messages come and go: what they leave is cleared before a lease is slow, and the
        # room is used again before their tables grow. Tests have too many databases for it.
        "autovacuum_naptime": "5s" if durable else "10s",
        # A DETAIL line quotes the values of the row. No personal datum belongs in a log.
        "log_error_verbosity": "terse",
        "log_min_error_statement": "panic",
    }
    arguments = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
    spec = ProcessSpec(
        name="postgres.1",
        argv=[str(binaries(major) / "postgres"), "-D", str(data), *arguments],
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        stage=SERVERS,
        ready=f"postgres:{port}",
        user=user,
        stop_signal=signal.SIGINT,  # "fast": it does not wait for clients to leave
        stop_timeout_s=30,
    )
    return spec, data


def forget_in_memory(folder: Path) -> None:
    """Delete the data of a stopped server if it lies in memory. A start makes it anew."""
    data = (folder / "postgres").resolve()
    if data.is_relative_to(_MEMORY):
        shutil.rmtree(data, ignore_errors=True)


def _place(folder: Path, user: str | None, *, durable: bool) -> Path:
    """The data folder, owned by the server's user. `folder/postgres` leads to it."""
    link = folder / "postgres"
    if not link.exists():
        link.unlink(missing_ok=True)  # a link whose target was cleaned away
        disk = _elsewhere(folder, user, durable=durable)
        if disk is None:
            link.mkdir(mode=0o700)
        else:
            mark = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
            elsewhere = disk / f"zoho-relay-{mark}"
            elsewhere.mkdir(mode=0o700, exist_ok=True)
            _refuse_unless_ours(elsewhere, user)
            _empty(elsewhere)  # left by a checkout at this place that is gone, with its passwords
            link.symlink_to(elsewhere)
    if user is not None:
        shutil.chown(link.resolve(), user, pwd.getpwnam(user).pw_gid)
    return link.resolve()


def _elsewhere(folder: Path, user: str | None, *, durable: bool) -> Path | None:
    """Below what the data lies, if not in the stack's own folder."""
    if not durable and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES:
        return _MEMORY
    if user is not None and not _can_reach(folder, user):
        return Path("/var/tmp")  # noqa: S108  (owned, mode 0700)
    return None


def _refuse_unless_ours(folder: Path, user: str | None) -> None:
    """Everyone may write where it lies: another user may have made a folder of that name first."""
    ours = {os.getuid(), *([pwd.getpwnam(user).pw_uid] if user else ())}
    if folder.is_symlink() or folder.lstat().st_uid not in ours:
        raise PermissionError(f"{folder} belongs to somebody else")


def _initialize(data: Path, user: str | None, secrets: Mapping[str, str]) -> None:
    _empty(data)  # of an initdb that was cut short
    initdb = [str(binaries() / "initdb"), "-D", str(data), "-U", "postgres", "--auth=reject"]
    _run([*initdb, "--locale=C.UTF-8", "--encoding=UTF8"], user, "")
    (data / "pg_hba.conf").write_text(_HBA)
    # In single-user mode nobody can connect yet, so no moment exists in which a password is unset.
    statements = (
        f"ALTER ROLE postgres PASSWORD '{secrets['postgres_password']}'",
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '{secrets['database_password']}'",
        f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
    )
    single = [str(binaries() / "postgres"), "--single", "-D", str(data)]
    _run([*single, "-c", "exit_on_error=on", "postgres"], user, "\n".join((*statements, "")))


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _run(argv: list[str], user: str | None, text: str) -> None:
    gid = pwd.getpwnam(user).pw_gid if user else None
    done = subprocess.run(  # noqa: S603
        argv,
        user=user,
        group=gid,
        extra_groups=[] if user else None,
        cwd="/",
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{Path(argv[0]).name} failed:\n{done.stderr[-2000:]}")


def _server_user() -> str | None:
    """Whom to run as: None is ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _can_reach(folder: Path, user: str) -> bool:
    test = shutil.which("test") or "/usr/bin/test"
    gid = pwd.getpwnam(user).pw_gid
    argv = [test, "-x", str(folder.resolve())]
    asked = subprocess.run(argv, user=user, group=gid, extra_groups=[], cwd="/", check=False)  # noqa: S603
    return asked.returncode == 0


def _candidates() -> Iterator[Path]:
    for pattern in (
        "usr/lib/postgresql/*/bin",
        "usr/pgsql-*/bin",
        "opt/homebrew/opt/postgresql@*/bin",
    ):
        yield from Path("/").glob(pattern)
    if on_path := shutil.which("initdb"):
        yield Path(on_path).resolve().parent


def _version(folder: Path) -> int | None:
    if not ((folder / "initdb").exists() and (folder / "postgres").exists()):
        return None
    argv = [str(folder / "postgres"), "--version"]
    output = subprocess.run(argv, capture_output=True, text=True, check=False).stdout  # noqa: S603
    match = re.search(r"\b(\d+)[.\w]*", output)
    return int(match[1]) if match else None
