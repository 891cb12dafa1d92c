"""With pgbouncer in front: session mode works, the others are refused by name."""

import asyncio
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import SecretStr

from deploy.local.ports import free_port
from shared.errors import CannotStart, Unavailable
from shared.storage import pool as storage
from shared.storage.migrations import migrate

Pgbouncer = Callable[[str], Awaitable[str]]


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """Not pytest's, which only its own user may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def pgbouncer(database_url: str, public_folder: Path) -> AsyncIterator[Pgbouncer]:
    """Start one in a mode, and return the URL that leads through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "pgbouncer is missing: install the package pgbouncer"
    processes: list[asyncio.subprocess.Process] = []

    async def start(mode: str) -> str:
        port, target = free_port(), urlsplit(database_url)
        user, password = unquote(target.username or ""), unquote(target.password or "")
        users, config = public_folder / "users.txt", public_folder / "pgbouncer.ini"
        users.write_text(f'"{user}" "{password}"\n')
        config.write_text(
            f"[databases]\n* = host={target.hostname} port={target.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir =\nauth_type = plain\nauth_file = {users}\n"
            f"pool_mode = {mode}\nserver_login_retry = 0\n"
        )
        # It refuses to run as root.
        as_nobody = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
        processes.append(
            await asyncio.create_subprocess_exec(
                program, str(config), **(as_nobody if os.geteuid() == 0 else {})
            )
        )
        await answering(port)
        return target._replace(netloc=f"{user}:{password}@127.0.0.1:{port}").geturl()

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def answering(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[None]:
    async with storage.connect(SecretStr(url), size=4) as pool:
        await migrate(pool, schema="billing")
        answers = await asyncio.gather(
            *[pool.fetchval("SELECT $1::int", number) for number in range(20)]
        )
        assert answers == list(range(20))
        yield


async def test_sessions_of_pgbouncer_are_as_good_as_postgresqls(pgbouncer: Pgbouncer) -> None:
    url = await pgbouncer("session")
    async with opened(url), opened(url):
        pass


async def test_a_parameter_that_pgbouncer_refuses_is_no_outage(pgbouncer: Pgbouncer) -> None:
    url = await pgbouncer("session")
    with pytest.raises(Unavailable, match="parameter of DATABASE_URL") as caught:
        async with opened(f"{url}?statement_timeout=5000"):
            pass
    assert caught.value.code == "database_refused"


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_pooler_that_shares_sessions_is_refused_by_name(
    pgbouncer: Pgbouncer, mode: str
) -> None:
    with pytest.raises(CannotStart, match=r"pgbouncer.*pool_mode = session") as caught:
        async with opened(await pgbouncer(mode)):
            pass
    assert caught.value.code == "pooler_not_supported"
