import errno
import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from shared.errors import PermanentError
from shared.observability import logs
from shared.observability.metrics import Metrics
from shared.observability.redaction import mask

TOKEN = "1000.0123456789abcdef0123456789abcdef.fedcba9876543210fedcba9876543210"


@pytest.fixture
def lines():
    """Configure logging into a buffer. Call it for the lines so far, parsed."""
    out = io.StringIO()
    before = logging.getLogger().handlers[:], logging.getLogger().level
    logs.configure("billing-worker", "INFO", stream=out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.getLogger().handlers[:], level = before
    logging.getLogger().setLevel(level)


def test_a_line_is_one_json_object_with_time_level_and_service(lines):
    structlog.get_logger().info("zoho call answered", product="billing", status=201, attempt=1)

    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "zoho call answered",
        "product": "billing",
        "status": 201,
        "attempt": 1,
        "level": "info",
        "service": "billing-worker",
    }


def test_lines_below_the_level_are_left_out(lines):
    structlog.get_logger().debug("detail")

    assert lines() == []


def test_what_is_bound_is_on_every_line_until_the_block_ends(lines):
    log = structlog.get_logger()

    with logs.bind(correlation_id="c1"):
        log.info("inside")
    log.info("outside")

    assert [line.get("correlation_id") for line in lines()] == ["c1", None]


@pytest.mark.parametrize(
    "values",
    [
        {"note": f"got {TOKEN}"},
        {"note": "of ada@example.org"},
        {"note": "customer 460000000026049 moved"},
        {"note": "c06d460000000026049b000fb3ad81e"},  # no UUID: a digit less
        {"note": "see https://user:pw@books.zoho.com/x"},
        {"customer": 460000000026049},
        {"authorization": "Zoho-oauthtoken abc"},
        {"access_token": "abc"},
        {"email": "Ada"},
        {"full_name": "Ada"},
        {"headers": {"x": "Ada"}},
        {"found": [{"first_name": "Ada"}, "ada@example.org"]},
        {"body": b"Ada"},
        {"raw": b"Ada"},
    ],
)
def test_what_must_not_be_kept_is_taken_out(lines, values):
    structlog.get_logger().info("something", **values)

    text = json.dumps(lines()).lower()
    assert not any(secret in text for secret in ("ada", "abc", "fedcba", "460000000026049", "pw@"))


def test_our_own_ids_and_numbers_stay(lines):
    structlog.get_logger().info(
        "done", user_id="u-1", routing_key="user.updated.v1", duration_s=0.5
    )

    (line,) = lines()
    assert (line["user_id"], line["routing_key"], line["duration_s"]) == (
        "u-1",
        "user.updated.v1",
        0.5,
    )


def test_a_trace_id_is_not_taken_for_an_id_of_zohos(lines):
    trace = "00-12345678901234567890123456789012-1234567890123456-01"

    structlog.get_logger().info("done", traceparent=trace)

    assert lines()[0]["traceparent"] == trace


def test_an_error_of_ours_is_logged_with_code_reason_and_place(lines):
    def handle():
        raise PermanentError("there is no such plan", code="unknown_plan")

    try:
        handle()
    except PermanentError:
        structlog.get_logger().exception("given up")

    (line,) = lines()
    assert (line["error"], line["code"]) == ("PermanentError", "unknown_plan")
    assert line["reason"] == "there is no such plan"
    assert line["trace"][-1].endswith(" handle")


def test_a_foreign_error_is_logged_without_its_text(lines):
    def write():
        try:
            int("Ada")
        except ValueError as error:
            raise RuntimeError("row of Ada") from error

    try:
        write()
    except RuntimeError:
        structlog.get_logger().exception("failed")

    (line,) = lines()
    assert line["error"] == "RuntimeError < ValueError"
    assert "Ada" not in json.dumps(line)


def test_a_librarys_line_is_logged_without_its_arguments(lines):
    logging.getLogger("aiormq").warning("no connection to %s", "amqp://user:pw@broker")
    logging.getLogger("aiormq").info("quiet")

    (line,) = lines()
    assert (line["event"], line["logger"]) == ("no connection to %s", "aiormq")
    assert "pw" not in json.dumps(line)


def test_our_modules_may_use_the_standard_library_with_extra(lines):
    log = logging.getLogger("shared.messaging.somewhere")

    log.info("message settled", extra={"queue": "q", "email": "ada@example.org"})

    (line,) = lines()
    assert (line["event"], line["queue"]) == ("message settled", "q")
    assert "ada" not in json.dumps(line)


@pytest.mark.parametrize(
    "text",
    [
        "user.signed_up.v1",
        "2026-01-31T10:00:00Z",
        "u1",
        "12345678901234",
        "c06d4600000000012345678fb3ad81e5",  # a UUID in hexadecimal
    ],
)
def test_harmless_text_is_not_masked(text):
    assert mask(text) == text


# --- a line that fails ---


class FullDisk(io.StringIO):
    """Takes nothing, until there is space again."""

    is_full = True

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def lost() -> float:
    value = Metrics("test").registry.get_sample_value("log_lines_lost_total")
    assert value is not None
    return value


@pytest.fixture
def disk(lines):
    out = FullDisk()
    logs.configure("billing-worker", "INFO", stream=out)
    return out


def test_a_full_disk_fails_no_work_and_its_lost_lines_are_counted(disk):
    before = lost()

    structlog.get_logger().info("first")
    logging.getLogger("shared.somewhere").warning("second")
    assert lost() == before + 2

    disk.is_full = False
    structlog.get_logger().info("third")
    assert [json.loads(line)["event"] for line in disk.getvalue().splitlines()] == ["third"]


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_a_value_that_cannot_be_rendered_costs_its_line_and_no_more(lines):
    before = lost()

    structlog.get_logger().info("odd", values=[Unprintable()])

    (line,) = lines()
    assert (line["event"], line["error"]) == ("a log line could not be rendered", "RuntimeError")
    assert lost() == before + 1


def test_text_that_is_no_unicode_is_logged_all_the_same(lines):
    structlog.get_logger().info("odd", header="caf\udce9")

    assert lines()[0]["header"] == "caf\udce9"


def test_standard_output_may_be_full_from_the_first_line_on(tmp_path):
    program = """
import sys, structlog
from shared.observability import logs
from shared.observability.metrics import Metrics
from shared.observability.metrics import Metrics
logs.configure("billing-worker")
structlog.get_logger().info("service started")
print(Metrics("x").render().decode(), file=sys.stderr)
"""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", program],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
            cwd=tmp_path,
            check=False,
        )

    assert ended.returncode == 0
    assert "log_lines_lost_total 1.0" in ended.stderr


def test_what_is_torn_off_a_line_does_not_spoil_the_next(tmp_path):
    """The disk is full in the midst of a line, and has space again for the next."""
    program = """
import resource, signal, sys, structlog
from shared.observability import logs
from shared.observability.metrics import Metrics
logs.configure("billing-worker")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40, resource.RLIM_INFINITY))
structlog.get_logger().info("torn")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
structlog.get_logger().info("whole")
"""
    file = tmp_path / "log"
    with file.open("w") as out:
        subprocess.run(
            [sys.executable, "-c", program],
            stdout=out,
            env={"PYTHONPATH": ":".join(sys.path)},
            cwd=tmp_path,
            check=True,
        )

    torn, whole = file.read_text().splitlines()
    assert len(torn) == 40
    assert json.loads(whole)["event"] == "whole"
