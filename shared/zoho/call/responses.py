"""Read an answer of Zoho's: from bytes, whatever they are, to a body or an error's code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.zoho.call.known_answers import NOT_JSON

# Beyond 2^53 only ids are this long. As text they survive every reader (docs/zoho/finance.md
# §2.1).
_ID_DIGITS = 15
# Logged and compared: never free text, which may quote what we sent.
_CODE = re.compile(r"[A-Za-z0-9_]{1,64}")
_FIELD = re.compile(r"[A-Za-z0-9_/]{1,100}")


Body = Mapping[str, Any]


def _nothing(_body: Body) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Envelope:
    """The way in which a product wraps its answers.

    `code_of` returns Zoho's code of an error, "" for a success, and `NOT_JSON` for a body that
    cannot be the product's. `codes_of_rows`: the code of each row, in order, "" when it went well,
    where an answer holds one result per row sent. `refused_fields_of` returns the names of the
    fields that an error is about, where it names them. `always_has_body`: an answer without a body
    is no answer, unless its status is 204 or 304.
    """

    code_of: Callable[[Body], object]
    codes_of_rows: Callable[[Body], Sequence[object]] = _nothing
    refused_fields_of: Callable[[Body], Sequence[object]] = _nothing
    always_has_body: bool = False


@dataclass(frozen=True)
class ParsedResponse:
    """An answer as read. `zoho_code` is "" when Zoho reported no error.

    `body` is `{}` without one. A top-level array is put under `data`. `codes_of_rows` holds one
    code per row sent, in order, and nothing when the answer is not of that kind.
    """

    status: int
    zoho_code: str
    message: str
    body: dict[str, Any]
    content: bytes = b""
    codes_of_rows: tuple[str, ...] = ()
    refused_fields: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return (200 <= self.status < 300 or self.status == 304) and self.zoho_code == ""

    @property
    def codes_of_failed_rows(self) -> list[str]:
        """The codes of the rows that failed. None when the answer failed as a whole."""
        return [code for code in self.codes_of_rows if code]


def read(
    envelope: Envelope, accept: str, status: int, headers: Mapping[str, str], raw: bytes
) -> ParsedResponse:
    """Decide from the body, not from the status alone: errors come under 200, pages under 401."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    is_pdf_wanted = accept == "pdf" and 200 <= status < 300
    if is_pdf_wanted and raw.startswith(b"%PDF"):
        return ParsedResponse(status, "", "", {}, raw)
    if not raw.strip():
        may_be_empty = status in (204, 304) or not envelope.always_has_body
        return ParsedResponse(status, "" if may_be_empty else NOT_JSON, "", {})
    body = None if kind == "text/html" else _object(raw)
    if body is None:
        return ParsedResponse(status, NOT_JSON, "", {})
    code = _safe(envelope.code_of(body))
    if is_pdf_wanted and not code:
        # A success that is not the document asked for.
        return ParsedResponse(status, NOT_JSON, "", {})
    return ParsedResponse(
        status,
        code,
        str(body.get("message", "")),
        body,
        codes_of_rows=tuple(_safe(row_code) for row_code in envelope.codes_of_rows(body)),
        refused_fields=tuple(filter(None, map(_field, envelope.refused_fields_of(body)))),
    )


def loads(raw: bytes) -> Any:
    """JSON with `Decimal` for fractions and `str` for ids sent as numbers."""
    return json.loads(raw, parse_float=Decimal, parse_int=_int_or_id)


def _object(raw: bytes) -> dict[str, Any] | None:
    if raw.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        body = loads(raw)
    except ValueError:
        return None
    return {"data": body} if isinstance(body, list) else body


def _field(name: object) -> str:
    text = str(name or "").strip("/")  # paths lose their slash
    return text if _FIELD.fullmatch(text) else ""


def _safe(code: object) -> str:
    text = str(code)
    return text if _CODE.fullmatch(text) or text == "" else "other"


def _int_or_id(text: str) -> int | str:
    return text if len(text) >= _ID_DIGITS else int(text)
