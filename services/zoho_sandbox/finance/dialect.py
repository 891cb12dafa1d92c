"""Word the answers of Billing and Books: envelope, error codes, pages, refusals.

Source: https://www.zoho.com/books/api/v3/introduction/ and https://www.zoho.com/billing/api/v1/errors/.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aiohttp import web

from services.zoho_sandbox.server.access import status_of
from services.zoho_sandbox.server.routes import (
    ApiCall,
    EndpointHandler,
    NotJson,
    Routes,
    json_answer,
)
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

MAX_PER_PAGE = 200
_STATUS_CODES: dict[int, tuple[int, str]] = {
    400: (2, "Invalid value passed for one of the parameters"),
    401: (57, "You are not authorized to perform this operation"),
    403: (57, "You do not have permission to perform this operation"),
    404: (1002, "Resource does not exist."),
    405: (37, "The HTTP method is not allowed"),
    429: (
        44,
        (
            "For security reasons your organization has been blocked as it have exceeded the "
            "maximum number of requests per minute that can originate from an organization."
        ),
    ),
    500: (1000, "Internal Error"),
}


class Rejected(Exception):
    """Zoho refuses the call with this status, code and message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def answer(status: int, code: int, message: str, **resources: Any) -> web.Response:
    """Return the envelope `{code, message, <resource>…}`."""
    return json_answer({"code": code, "message": message, **resources}, status)


def ok(message: str = "success", *, status: int = 200, **resources: Any) -> web.Response:
    return answer(status, 0, message, **resources)


def with_error_envelope(handler: EndpointHandler) -> EndpointHandler:
    """Wrap a handler, so that what it rejects is answered in the envelope."""

    async def answered(call: ApiCall) -> web.StreamResponse:
        try:
            return await handler(call)
        except Rejected as refusal:
            return answer(refusal.status, refusal.code, refusal.message)
        except NotJson:
            raise
        except (TypeError, ValueError):  # a text where a number belongs, a list for an object
            return answer(400, 2, "Invalid value passed for one of the fields")

    return answered


class FinanceRoutes(Routes):
    """Routes whose handlers may raise `Rejected`. A trailing slash is accepted, as Zoho does."""

    def add(
        self, method: str, path: str, operation: str, handler: EndpointHandler, **more: Any
    ) -> None:
        guarded = with_error_envelope(handler)
        super().add(method, path, operation, guarded, **more)
        super().add(method, path + "/", operation, guarded, **more)


def not_found(what: str) -> Rejected:
    return Rejected(404, 1002, f"{what} does not exist.")


def invalid(what: str) -> Rejected:
    return Rejected(400, 2, f"Invalid value passed for {what}")


def page(call: ApiCall, name: str, rows: Sequence[Record], *, filter_name: str) -> web.Response:
    """Return the page of `rows` that was asked for, with its `page_context`."""
    per_page = min(_positive(call.query("per_page"), MAX_PER_PAGE), MAX_PER_PAGE)
    number = _positive(call.query("page"), 1)
    first = (number - 1) * per_page
    context = {
        "page": number,
        "per_page": per_page,
        "has_more_page": first + per_page < len(rows),
        "report_name": name.capitalize(),
        "applied_filter": call.query("filter_by", filter_name),
        "sort_column": call.query("sort_column", "created_time"),
        "sort_order": call.query("sort_order", "D"),
    }
    shown: dict[str, Any] = {name: list(rows[first : first + per_page])}
    return ok(**shown, page_context=context)


def in_order(call: ApiCall, rows: Iterable[Record]) -> list[Record]:
    """Sort by `sort_column`, descending unless `sort_order=A`. Unknown columns are ignored."""
    ordered = list(rows)
    column = call.query("sort_column", "created_time")
    if ordered and column in ordered[0] and column != "created_time":
        ordered.sort(key=lambda row: str(row[column]))
    return ordered if call.query("sort_order") == "A" else ordered[::-1]


def _positive(text: str, default: int) -> int:
    return int(text) if text.isdigit() and int(text) > 0 else default


class FinanceDialect:
    """Errors of Billing and Books. Billing also reads the organization from a header."""

    def __init__(self, world: World, product: str, organization_id: str) -> None:
        self._world = world
        self._product = product
        self._organization_id = organization_id

    def error(self, status: int) -> web.Response:
        code, message = _STATUS_CODES.get(status, (1000, "Internal Error"))
        return answer(status, code, message)

    def minute_limit(self, call: ApiCall) -> web.Response:
        return self.error(429)

    def day_limit(self, call: ApiCall) -> web.Response:
        meter = self._world.limits[self._product]
        limit = meter.limit.day if meter.limit.day is not None else 1000
        refusal = answer(
            429,
            45,
            "The API call for this organization has exceeded the maximum call rate limit of "
            f"{limit}.",
        )
        refusal.headers["X-Rate-Limit-Limit"] = str(limit)
        refusal.headers["X-Rate-Limit-Remaining"] = "0"
        refusal.headers["X-Rate-Limit-Reset"] = str(int(meter.day_resets_in_s()) + 1)
        return refusal

    def concurrency(self, call: ApiCall) -> web.Response:
        return answer(
            429,
            1070,
            "You have reached the maximum number of in process requests allowed. "
            "Kindly try again after some time.",
        )

    def invalid_token(self, call: ApiCall) -> web.Response:
        """Refuse an expired token with code 57, as for a missing scope, and an unknown one with 14.

        Only a second 401, after a refresh, shows a client which of the two it is.
        """
        if status_of(self._world, call.request.headers.get("Authorization", "")) == "dead":
            return self.error(401)
        return answer(401, 14, "Invalid value passed for authtoken.")

    def scope_mismatch(self, call: ApiCall) -> web.Response:
        return self.error(401)

    def wrong_organization(self, call: ApiCall) -> web.Response:
        return self.error(401)

    def user_disabled(self, call: ApiCall) -> web.Response:
        return answer(200, 6018, "Your account is disabled. Please contact your administrator.")

    def ok_with_error(self, call: ApiCall) -> web.Response:
        return answer(200, 1000, "Internal Error")

    def pattern_not_matched(self, call: ApiCall) -> web.Response:
        return self.error(400)

    def unknown_url(self, call: ApiCall) -> web.Response:
        return answer(404, 5, "Invalid URL Passed")

    def wrong_method(self, call: ApiCall) -> web.Response:
        return self.error(405)

    def bad_json(self, call: ApiCall) -> web.Response:
        return answer(400, 1038, "JSON is not well formed")

    def check_organization(self, call: ApiCall) -> web.Response | None:
        header = call.request.headers.get("X-com-zoho-subscriptions-organizationid")
        named = call.query("organization_id") or (header if self._product == "billing" else "")
        if not named:
            # Billing falls back on the user's default organization. Books insists on the parameter.
            if self._product == "billing":
                return None
            return answer(400, 2, "Invalid value passed for organization_id")
        return None if named == self._organization_id else self.wrong_organization(call)

    def decorate(self, call: ApiCall, response: web.StreamResponse) -> None:
        meter = self._world.limits[self._product]
        remaining = meter.day_remaining()
        if remaining is None:
            return
        response.headers["X-Rate-Limit-Limit"] = str(meter.limit.day)
        response.headers["X-Rate-Limit-Remaining"] = str(remaining)
        response.headers["X-Rate-Limit-Reset"] = str(int(meter.day_resets_in_s()) + 1)


def shown(record: Record) -> Record:
    """Return the fields that the API shows. The sandbox's own notes start with an underscore."""
    return {name: value for name, value in record.items() if not name.startswith("_")}


def money(value: Any) -> float:
    """Return an amount rounded to cents, as these products write it: a JSON number.

    Raises: Rejected: the value is no number, or negative.
    """
    try:
        amount = round(float(value), 2)
    except (TypeError, ValueError) as error:
        raise invalid("amount") from error
    if amount < 0:
        raise invalid("amount")
    return amount


def custom_fields(sent: Any) -> list[Record]:
    """Return custom fields as stored: with label and API name, whichever of the two was sent."""
    fields = []
    for index, field in enumerate(sent or [], start=1):
        label, api_name = field.get("label"), field.get("api_name")
        label = label or str(api_name or "").removeprefix("cf_").replace("_", " ").title()
        api_name = api_name or "cf_" + str(label).lower().replace(" ", "_")
        fields.append(
            {
                "index": index,
                "label": label,
                "api_name": api_name,
                "value": field.get("value"),
                "data_type": "text",
            }
        )
    return fields


def custom_value(record: Record, name: str) -> Any:
    """Return the value of the custom field with this API name or label, or None."""
    for field in record.get("custom_fields", []):
        if name in (field.get("api_name"), field.get("label")):
            return field.get("value")
    return None
