"""Reading an answer: bytes, whatever they are, to a reply or to what went wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from shared.zoho.call.error_tables.known_answers import NOT_JSON

# Beyond 2^53 only ids are this long. In text they survive every reader (finance trap 3).
_ID_DIGITS = 15
# CRM answers rows under the name of what was sent.
_ROWS: Final = ("data", "watch", "tags", "users")
# Logged and compared: never free text, which may quote what we sent.
_CODE = re.compile(r"[A-Za-z0-9_]{1,64}")
_FIELD = re.compile(r"[A-Za-z0-9_/]{1,100}")


@dataclass(frozen=True)
class ParsedResponse:
    """An answer as read. `zoho_code` is "" when Zoho reported no error.

    `body` is `{}` without one. A top-level array is put under `data`.
    """

    status: int
    zoho_code: str
    message: str
    body: dict[str, Any]
    content: bytes = b""

    @property
    def ok(self) -> bool:
        return (200 <= self.status < 300 or self.status == 304) and self.zoho_code == ""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One result per row sent, in order. None when the answer is not of that kind."""
        return _rows(self.body)

    @property
    def refused_fields(self) -> tuple[str, ...]:
        """Return the names of the fields at fault, as Desk lists them. Paths lose their slash."""
        listed = self.body.get("errors")
        errors = listed if isinstance(listed, list) else []
        names = [_field(error.get("fieldName")) for error in errors if isinstance(error, dict)]
        return tuple(name for name in names if name)

    @property
    def failed_rows(self) -> list[str]:
        """The codes of the rows that failed. None when the answer failed as a whole."""
        codes = [row_code(row) for row in self.rows]
        return [code for code in codes if code]


def read(
    product: str, accept: str, status: int, headers: Mapping[str, str], raw: bytes
) -> ParsedResponse:
    """Decide from the body, not from the status alone: errors come under 200, pages under 401."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if accept == "pdf" and 200 <= status < 300 and raw.startswith(b"%PDF"):
        return ParsedResponse(status, "", "", {}, raw)
    if not raw.strip():
        # 204 and 304 have none. Of the finance products every other answer has.
        bare = status in (204, 304) or product in ("crm", "desk")
        return ParsedResponse(status, "" if bare else NOT_JSON, "", {})
    if kind == "text/html" or raw.lstrip()[:1] not in (b"{", b"["):
        return ParsedResponse(status, NOT_JSON, "", {})
    try:
        body = loads(raw)
    except ValueError:
        return ParsedResponse(status, NOT_JSON, "", {})
    if isinstance(body, list):
        body = {"data": body}
    if accept == "pdf" and 200 <= status < 300 and not _code(product, body):
        return ParsedResponse(
            status, NOT_JSON, "", {}
        )  # a success that is not the document asked for
    return ParsedResponse(status, _code(product, body), str(body.get("message", "")), body)


def loads(raw: bytes) -> Any:
    """JSON with `Decimal` for fractions and `str` for ids sent as numbers."""
    return json.loads(raw, parse_float=Decimal, parse_int=_int_or_id)


def row_code(row: Mapping[str, Any]) -> str:
    """CRM's code of a row that failed. "" when it went well."""
    return _safe(row.get("code", "")) if row.get("status") == "error" else ""


def _code(product: str, body: Mapping[str, Any]) -> str:
    match product:
        case "billing" | "books":
            code = body.get("code", NOT_JSON)
            return "" if str(code) == "0" else _safe(code)
        case "crm":
            if body.get("status") == "error" and "code" in body:
                return _safe(body["code"])
            return next((code for row in _rows(body) if (code := row_code(row))), "")
        case _:
            return _safe(body.get("errorCode", ""))


def _rows(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    for name in _ROWS:
        rows = body.get(name)
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            return rows
    return []


def _field(name: Any) -> str:
    text = str(name or "").strip("/")
    return text if _FIELD.fullmatch(text) else ""


def _safe(code: Any) -> str:
    text = str(code)
    return text if _CODE.fullmatch(text) or text == "" else "other"


def _int_or_id(text: str) -> int | str:
    return text if len(text) >= _ID_DIGITS else int(text)
