"""Record requests and answers in a file of JSON lines, for tests against Zoho's OpenAPI files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from services.zoho_sandbox.server.request_log import LoggedRequest

_UNRECORDED = "accounts"  # its answers hold tokens


def record_call(file: Path, entry: LoggedRequest, response: web.StreamResponse) -> None:
    """Append the request as received and the answer as sent.

    `answer` is null when the client got none. Its `json` is absent when the body is not JSON.
    One write with O_APPEND, because sandboxes in several processes share a file.
    """
    if entry.product == _UNRECORDED:
        return
    answer = _answer(response) if entry.status else None
    line = orjson.dumps({**entry.as_json(), "answer": answer}) + b"\n"
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def _answer(response: web.StreamResponse) -> dict[str, Any]:
    body = response.body if isinstance(response, web.Response) else None
    content = body if isinstance(body, bytes) else b""
    answer: dict[str, Any] = {"type": response.content_type, "bytes": len(content)}
    if content and response.content_type == "application/json":
        answer["json"] = orjson.loads(content)
    return answer
