"""Word the answers of Zoho CRM: flat `{code, details, message, status}`, and rows under `data`.

Credits and concurrency share one 429 without `Retry-After`. A header shows the credits left only
once half of them are used. Source: Zoho CRM, "status codes" and "API limits".
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.server.routes import ApiCall, json_answer
from services.zoho_sandbox.server.world import World

# A row of an answer: `{code, details, message, status}`.
ResultRow = dict[str, Any]

_STATUS_CODES = {
    400: ("INVALID_REQUEST", "invalid request"),
    401: ("INVALID_TOKEN", "invalid oauth token"),
    403: ("NO_PERMISSION", "permission denied"),
    404: ("INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one"),
    405: ("INVALID_REQUEST_METHOD", "The http request method type is not a valid one"),
    429: ("TOO_MANY_REQUESTS", "You have exceeded the allowed number of requests"),
    500: ("INTERNAL_ERROR", "Internal Server Error"),
}


class CrmError(Exception):
    """The refusal of a whole request, raised by handlers."""

    def __init__(self, status: int, code: str, message: str, **details: Any) -> None:
        super().__init__(code)
        self.response = failure(status, code, message, **details)


def failure(status: int, code: str, message: str, **details: Any) -> web.Response:
    """Return the flat envelope of a request that failed as a whole."""
    body = {"code": code, "details": details, "message": message, "status": "error"}
    return answer(body, status)


def answer(body: Any, status: int = 200) -> web.Response:
    """Return JSON in CRM's form."""
    return json_answer(body, status)


def row_answer(
    rows: list[ResultRow], *, version: float, done: int = 200, key: str = "data"
) -> web.Response:
    """Answer with rows: status `done`, 207 when some failed, 400 when all did (202 before v3)."""
    failed = sum(row["status"] == "error" for row in rows)
    if failed == 0:
        status = done
    elif failed < len(rows):
        status = 207
    else:
        status = 400 if version >= 3 else 202
    return answer({key: rows}, status)


class CrmDialect:
    """Errors and headers of CRM."""

    def __init__(self, world: World) -> None:
        self._world = world

    def error(self, status: int) -> web.Response:
        code, message = _STATUS_CODES.get(status, ("INTERNAL_ERROR", "Internal Server Error"))
        return failure(status, code, message)

    def day_limit(self, call: ApiCall) -> web.Response:
        return self.error(429)

    minute_limit = concurrency = day_limit

    def invalid_token(self, call: ApiCall) -> web.Response:
        return self.error(401)

    def scope_mismatch(self, call: ApiCall) -> web.Response:
        message = "invalid oauth scope to access this URL"
        return failure(401, "OAUTH_SCOPE_MISMATCH", message)

    def wrong_organization(self, call: ApiCall) -> web.Response:
        return self.error(403)

    def user_disabled(self, call: ApiCall) -> web.Response:
        return failure(401, "AUTHENTICATION_FAILURE", "Authentication failed")

    def pattern_not_matched(self, call: ApiCall) -> web.Response:
        """Refuse the whole call because of one value, without rows."""
        details = {"api_name": "Email", "json_path": "$.data[0].Email"}
        return failure(
            400, "PATTERN_NOT_MATCHED", "the value does not match the pattern", **details
        )

    def ok_with_error(self, call: ApiCall) -> web.Response:
        row = {"code": "INTERNAL_ERROR", "details": {}, "message": "error", "status": "error"}
        return answer({"data": [row]})

    def unknown_url(self, call: ApiCall) -> web.Response:
        return self.error(404)

    def wrong_method(self, call: ApiCall) -> web.Response:
        return self.error(405)

    def bad_json(self, call: ApiCall) -> web.Response:
        return failure(400, "INVALID_DATA", "body is not in the expected format")

    def check_organization(self, call: ApiCall) -> web.Response | None:
        return None  # the token determines it

    def decorate(self, call: ApiCall, response: web.StreamResponse) -> None:
        meter = self._world.limits["crm"]
        remaining, limit = meter.day_remaining(), meter.limit.day
        if remaining is not None and limit is not None and remaining <= limit / 2:
            response.headers["X-API-CREDITS-REMAINING"] = str(remaining)
