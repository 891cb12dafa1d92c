"""Serve `POST /webhooks/<product>`: answer a request, and report its outcome."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Mapping
from typing import Final

import structlog
from aiohttp import web

from services.webhook_gateway.ingest import Accepted, WebhookIngest
from services.webhook_gateway.outcome_reporter import EventOutcome, OutcomeReporter, RequestOutcome
from services.webhook_gateway.requests.refusals import (
    Malformed,
    TooLarge,
    Unauthentic,
    UnknownOrganization,
)
from services.webhook_gateway.requests.webhook_request import (
    WebhookEvent,
    WebhookRequest,
    WebhookSource,
)
from shared.errors import IntegrationError, PermanentError
from shared.observability.metrics import Metrics

LARGEST_BODY_BYTES: Final = 1024 * 1024

_STATUS: Final[Mapping[type[PermanentError], int]] = {
    Malformed: 400,
    Unauthentic: 401,
    UnknownOrganization: 404,
    TooLarge: 413,
}
_RETRY_AFTER_S: Final = 5.0
_READ_WITHIN_S: Final = 10.0


class WebhookEndpoint:
    """Receives the webhooks of one product."""

    def __init__(
        self,
        source: WebhookSource,
        ingest: WebhookIngest,
        metrics: Metrics,
        *,
        orgs: Collection[str],
    ) -> None:
        self.product = source.product
        self.answers_get = source.answers_get
        self._source = source
        self._ingest = ingest
        self._reporter = OutcomeReporter(source.product, metrics)
        self._orgs = orgs
        self._log = structlog.get_logger().bind(product=source.product)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer 200 once every event of the post is stored.

        400, 401, 404 and 413 refuse it. 503 with Retry-After: it cannot be stored now. 500: a
        mistake of ours.
        """
        started = time.perf_counter()
        query = request.rel_url.raw_query_string
        name = request.query.get("org", "default") if query else "default"
        org = name if name in self._orgs else ""  # logs and metrics repeat only what is ours
        try:
            outcomes = await self._accept(org, query, request)
            response = _ok()
        except IntegrationError as error:
            outcomes = [EventOutcome(error.code)]
            response = _refusal(error)
        except Exception:
            self._log.exception("webhook failed")
            outcomes = [EventOutcome("internal_error")]
            response = web.Response(status=500)
        self._reporter.report_soon(
            RequestOutcome(org, outcomes, time.perf_counter() - started, response.status)
        )
        return response

    async def greet(self, request: web.Request) -> web.Response:
        """Answer the GET by which some products try a URL before they accept it."""
        return _ok()

    async def _accept(self, org: str, query: str, request: web.Request) -> list[EventOutcome]:
        if not org:
            raise UnknownOrganization("there is no such organization")
        posted = WebhookRequest(org, query, request.headers, await _body(request))
        events = await self._source.read(posted)
        if not events:
            return [EventOutcome("no_event")]
        # All are queued before the first is awaited, so that they are stored together.
        pending = [self._ingest.submit(org, self.product, event) for event in events]
        return [
            _outcome(event, await accepted) for event, accepted in zip(events, pending, strict=True)
        ]


async def expect(request: web.Request) -> None:
    """Answer the header `Expect`. aiohttp's own answer repeats it, also where it is no text."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="only 100-continue can be expected")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0


def _outcome(event: WebhookEvent, accepted: Accepted) -> EventOutcome:
    if not accepted.new:
        return EventOutcome("duplicate", event.event)
    outcome = "accepted" if event.known else "accepted_unknown_event"
    return EventOutcome(outcome, event.event, str(accepted.webhook_id))


async def _body(request: web.Request) -> bytes:
    if (request.content_length or 0) > LARGEST_BODY_BYTES:
        raise TooLarge("the body is over 1 MiB")
    try:
        if request.content.is_eof():  # it came with the headers, as most do
            body = request.content.read_nowait()
            if len(body) > LARGEST_BODY_BYTES:  # once unpacked
                raise TooLarge("the body is over 1 MiB")
            return body
        async with asyncio.timeout(_READ_WITHIN_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge("the body is over 1 MiB") from None
    except TimeoutError:
        raise Malformed("the body did not come to an end") from None
    except ConnectionError:
        raise Malformed("the sender has gone before the end of the body") from None
    except web.RequestPayloadError:
        raise Malformed("the body is not packed as its Content-Encoding says") from None


def _ok() -> web.Response:
    return web.Response(body=b'{"ok":true}', content_type="application/json")


def _refusal(error: IntegrationError) -> web.Response:
    body = {"ok": False, "code": error.code, "reason": error.reason}
    if isinstance(error, PermanentError):
        return web.json_response(body, status=_STATUS.get(type(error), 400))
    after_s = getattr(error, "retry_after_s", None) or _RETRY_AFTER_S
    headers = {"Retry-After": str(math.ceil(after_s))}
    return web.json_response(body, status=503, headers=headers)
