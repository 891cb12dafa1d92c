"""Write log lines: JSON on stdout, one object a line, safe to keep.

    log = structlog.get_logger()
    log.info("zoho call answered", product="billing", operation="create_customer", status=201)

A line that cannot be written fails no work. It is counted: `log_lines_lost_total`.

The text is constant and values go beside it. Redaction is the last line of defence. The first is
that callers do not log personal data, tokens or ids of Zoho's.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from shared.errors import IntegrationError
from shared.observability.log_stream import LogStream, LostLines
from shared.observability.redaction import mask, render

_LEVELS = {"warn": "warning", "exception": "error"}
_FRAMES = 12  # of a traceback, the innermost
_FOREIGN_TEXT = 200  # characters kept of a library's own message
_OURS = ("shared", "services")
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "event"}


def configure(service: str, level: str = "INFO", *, stream: TextIO | None = None) -> None:
    """Send structlog's and the libraries' lines to `stream` (stdout by default), as JSON."""
    out = LogStream(stream)
    floor = logging.getLevelNamesMapping()[level]

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, _LineRenderer(service)],
        wrapper_class=structlog.make_filtering_bound_logger(floor),
        logger_factory=structlog.WriteLoggerFactory(file=cast("TextIO", out)),
        cache_logger_on_first_use=False,  # tests configure again
    )
    # Of libraries only warnings and errors. asyncio reports tasks that nobody awaited.
    logging.basicConfig(level=max(floor, logging.WARNING), handlers=[_LibraryHandler()], force=True)
    for ours in _OURS:
        logging.getLogger(ours).setLevel(floor)
    logging.captureWarnings(True)


class _Bound:
    """Not a generator, which costs more: it is entered for every message."""

    __slots__ = ("_tokens", "_values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def __enter__(self) -> None:
        self._tokens = structlog.contextvars.bind_contextvars(**self._values)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        structlog.contextvars.reset_contextvars(**self._tokens)


def bind(**values: str) -> _Bound:
    """Put `values` (correlation_id=…) on every line of this task until the block ends."""
    return _Bound(values)


def describe(error: BaseException) -> dict[str, Any]:
    """Return what may be logged of an error: class, code, our own reason, places in the code.

    A foreign exception's text can quote a row (`Key (email)=(…)`), a URL with a password or a
    body, so only errors of our tree are logged with their reason.
    """
    described: dict[str, Any] = {"error": _chain(error)}
    if isinstance(error, IntegrationError):
        described |= {"code": error.code, "reason": error.reason}
    described["trace"] = _places(error.__traceback__)
    return described


def _chain(error: BaseException) -> str:
    names: list[str] = []
    current: BaseException | None = error
    while current is not None and len(names) < 5:
        names.append(type(current).__qualname__)
        current = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
    return " < ".join(names)


def _places(traceback: TracebackType | None) -> list[str]:
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        module = traceback.tb_frame.f_globals.get("__name__", "?")
        places.append(f"{module}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return places[-_FRAMES:]


class _LineRenderer:
    """Completes and renders a line. One function, because there is a line for each message."""

    def __init__(self, service: str) -> None:
        self._service = service

    def __call__(self, _: Any, method: str, event: MutableMapping[str, Any]) -> str:
        if "exc_info" in event:
            _describe_error(event)
        event["level"] = _LEVELS.get(method, method)
        event["time"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        event["service"] = self._service
        try:
            return render(event).decode()
        except Exception as error:  # whatever it is, the work that logs goes on
            LostLines.count += 1
            return render(
                {
                    "event": "a log line could not be rendered",
                    "error": type(error).__name__,
                    **{name: event[name] for name in ("level", "time", "service")},
                }
            ).decode()


def _describe_error(event: MutableMapping[str, Any]) -> None:
    error = event.pop("exc_info")
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event.update(describe(error))


class _LibraryHandler(logging.Handler):
    """Turns a record of the standard library's logging into a line of ours.

    A record of our own modules keeps its text and what is in `extra`. A library's record keeps its
    template, which says what happened, and not its arguments, which hold connection URLs, reprs of
    tasks and values.
    """

    def __init__(self) -> None:
        super().__init__()
        self._log = structlog.get_logger().bind()  # bound once: each lookup builds a new one

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._emit(record)
        except Exception:  # whatever it is, the work that logs goes on
            LostLines.count += 1

    def _emit(self, record: logging.LogRecord) -> None:
        text = str(record.msg).partition("\n")[0][:_FOREIGN_TEXT]
        values = _extra(record) if record.name.partition(".")[0] in _OURS else {}
        self._log.log(
            record.levelno,
            mask(text),
            **{**values, "logger": record.name, "exc_info": record.exc_info},
        )


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD_FIELDS}
