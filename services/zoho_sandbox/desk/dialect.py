"""Word the answers of Zoho Desk: refusals, and the quota headers of every answer.

The daily limit has `Retry-After`, the concurrency limit has not, and their codes differ.
Source: https://desk.zoho.com/DeskAPIDocument (errors) and Desk's help page on API credits.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.zoho_sandbox.desk.errors import DeskError
from services.zoho_sandbox.server.routes import ApiCall, EndpointHandler, json_answer
from services.zoho_sandbox.server.world import World

_STATUS_CODES = {
    400: ("BAD_REQUEST", "The request is invalid."),
    401: ("INVALID_OAUTH", "The OAuth Token you provided is invalid."),
    403: ("FORBIDDEN", "You are not authorized to access this resource."),
    404: ("URL_NOT_FOUND", "The URL you requested could not be found."),
    405: ("METHOD_NOT_ALLOWED", "The method used in the request is not allowed."),
    413: ("RESOURCE_SIZE_EXCEEDED", "The size of the resource exceeds the limit."),
    415: ("UNSUPPORTED_MEDIA_TYPE", "The media type is not supported."),
    422: ("UNPROCESSABLE_ENTITY", "The request could not be processed."),
    429: ("TOO_MANY_REQUESTS", "You have exceeded the number of concurrent requests."),
    500: ("INTERNAL_SERVER_ERROR", "An internal server error occurred."),
}


def answer(body: Any, status: int = 200) -> web.Response:
    """Return JSON in Desk's form."""
    return json_answer(body, status)


def data(rows: list[Any], **more: Any) -> web.Response:
    """Answer a list or a search: 204 without a body when it is empty."""
    return answer({"data": rows, **more}) if rows else web.Response(status=204)


def with_error_envelope(handler: EndpointHandler) -> EndpointHandler:
    """Wrap a handler, so that a DeskError is answered in the envelope."""

    async def answered(call: ApiCall) -> web.StreamResponse:
        try:
            return await handler(call)
        except DeskError as error:
            return answer(error.body, error.status)

    return answered


class DeskDialect:
    """Errors and headers of Desk."""

    def __init__(self, world: World) -> None:
        self._world = world

    def error(self, status: int) -> web.Response:
        code, message = _STATUS_CODES.get(status, ("INTERNAL_SERVER_ERROR", "Internal error."))
        return answer({"errorCode": code, "message": message}, status)

    def concurrency(self, call: ApiCall) -> web.Response:
        return self.error(429)

    minute_limit = concurrency

    def day_limit(self, call: ApiCall) -> web.Response:
        body = {"errorCode": "THRESHOLD_EXCEEDED", "message": "You have exceeded the API credits."}
        response = answer(body, 429)
        response.headers["Retry-After"] = str(int(self._world.limits["desk"].day_resets_in_s()) + 1)
        response.headers["X-Rate-Limit-Remaining-v3"] = "0"
        return response

    def invalid_token(self, call: ApiCall) -> web.Response:
        return self.error(401)

    def scope_mismatch(self, call: ApiCall) -> web.Response:
        message = "The OAuth token does not have the scope for this operation."
        return answer({"errorCode": "SCOPE_MISMATCH", "message": message}, 403)

    def wrong_organization(self, call: ApiCall) -> web.Response:
        message = "The OAuth token does not belong to this organization."
        return answer({"errorCode": "OAUTH_ORG_MISMATCH", "message": message}, 403)

    def user_disabled(self, call: ApiCall) -> web.Response:
        message = "You are not authorized to perform this operation."
        return answer({"errorCode": "UNAUTHORIZED", "message": message}, 401)

    def ok_with_error(self, call: ApiCall) -> web.Response:
        message = "An internal server error occurred."
        return answer({"errorCode": "INTERNAL_SERVER_ERROR", "message": message})

    def pattern_not_matched(self, call: ApiCall) -> web.Response:
        return self.error(400)

    def unknown_url(self, call: ApiCall) -> web.Response:
        return self.error(404)

    def wrong_method(self, call: ApiCall) -> web.Response:
        return self.error(405)

    def bad_json(self, call: ApiCall) -> web.Response:
        return answer({"errorCode": "BAD_REQUEST", "message": "The JSON is not valid."}, 400)

    def check_organization(self, call: ApiCall) -> web.Response | None:
        """Check `orgId`, which is needed as a header or a query parameter."""
        org_id = call.request.headers.get("orgId") or call.query("orgId")
        known = org_id == self._world.settings.desk_org_id
        return None if known else self.wrong_organization(call)

    def decorate(self, call: ApiCall, response: web.StreamResponse) -> None:
        meter = self._world.limits["desk"]
        remaining = meter.day_remaining()
        if remaining is not None:
            response.headers["X-Rate-Limit-Remaining-v3"] = str(remaining)
            response.headers["X-Rate-Limit-Request-Weight-v3"] = str(call.notes.get("weight", 1))
