"""Leave one value in one place, test by test. test_whole_run.py runs them in a pytest apart."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from deploy.local.stack import Stack
from shared.errors import PermanentError
from shared.observability import logs
from tests.kit.dummy_service import DUMMY
from tests.logs import plugin

PERSON = {"full_name": "Planty Plantagenet"}  # found in this very line by values.given_in
NAME = PERSON["full_name"]
EMAIL = "planted.person@example.org"
TOKEN = "1000.b0b5c0ffeeb0b5c0ffee.0123456789abcdef"
ID = "4600000000099999973"
RECORDED = (
    "recorded.person@example.net"  # it has no telltale form left: only its record identifies it
)
SAY = (sys.executable, "-c", "import sys; print(sys.argv[1]); print(sys.argv[1], file=sys.stderr)")
SERVICE = "import runpy; print({!r}, flush=True); runpy.run_path({!r}, run_name='__main__')"

log = structlog.get_logger()


def test_clean() -> None:
    log.info("sent to somebody", email=EMAIL, note=f"{TOKEN} {ID}")  # redaction takes it out
    try:
        _raise(RuntimeError(f"row of {NAME}"))
    except RuntimeError:
        log.exception("failed")
    logging.getLogger("aiormq").warning("no connection to %s", f"amqp://x:{NAME}@y/")


def test_field() -> None:
    log.debug("planted in a field", note=f"for {NAME}")


def test_event() -> None:
    log.info(f"{NAME} was planted")  # noqa: G004 - what must not be done


def test_reason() -> None:
    try:
        _raise(PermanentError(f"{NAME} is unknown", code="unknown_user"))
    except PermanentError:
        log.exception("planted in a reason")


def test_standard_logging() -> None:
    logging.getLogger("shared.storage.pool").debug("planted in extra", extra={"who": NAME})


def test_bound() -> None:
    with logs.bind(correlation_id=NAME):
        log.info("planted beforehand")


def test_configured() -> None:
    logs.configure("some-worker", "INFO", stream=io.StringIO())
    log.info("planted in a stream of the test", note=NAME)


def test_after_another_configuration() -> None:
    log.debug("planted below the level that the test before left", note=NAME)


def test_hex() -> None:
    log.info("planted as hexadecimal", note=RECORDED.encode().hex())


def test_setting() -> None:
    password = SecretStr("amqp://relay:pw-0f-nobody@localhost/").get_secret_value()[13:25]
    log.info("planted of a setting", note=password)


def test_print() -> None:
    print(EMAIL)


def test_inherited() -> None:
    subprocess.run([*SAY, EMAIL], check=True)


def test_piped() -> None:
    said = subprocess.run([*SAY, EMAIL], check=True, capture_output=True, text=True)
    assert (said.stdout, said.stderr) == (f"{EMAIL}\n", f"{EMAIL}\n")


def test_read_by_line() -> None:
    with subprocess.Popen([*SAY, TOKEN], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as said:
        assert said.stdout is not None
        assert [line.decode() for line in said.stdout] == [f"{TOKEN}\n"] * 2


def test_thrown_away() -> None:
    subprocess.run([*SAY, ID], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


async def test_piped_to_asyncio() -> None:
    pipe = asyncio.subprocess.PIPE
    said = await asyncio.create_subprocess_exec(*SAY, TOKEN, stdout=pipe, stderr=pipe)
    assert await said.communicate() == (f"{TOKEN}\n".encode(), f"{TOKEN}\n".encode())


def test_much_is_piped() -> None:
    script = f"print('x' * 1_000_000); print({EMAIL!r})"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    assert len(said.stdout) == 1_000_001 + len(EMAIL) + 1


def test_stack(tmp_path: Path) -> None:
    _started(tmp_path / "left-running", ID)


def test_discarded_stack(tmp_path: Path) -> None:
    _started(tmp_path / "discarded", EMAIL).discard()


def _raise(error: Exception) -> None:
    raise error


def _started(folder: Path, says: str) -> Stack:
    stack = Stack(
        folder,
        services={"dummy": ("-c", SERVICE.format(says, DUMMY))},
        sandbox=False,
        amqp_url="amqp://somewhere/",
        database_url="postgresql://somewhere/relay",
    )
    stack.start()
    return stack


def test_blind(request: pytest.FixtureRequest) -> None:
    """Act as a broken reader, which sees nothing of this process, nor of a stack."""
    run = request.config.stash[plugin._run]
    run._in_process.stop()
    run._programs.started.add(Path("silent"))
