"""Parse the bodies of webhooks: JSON, form fields, and a form field that holds JSON.

A body is read by what it is, because Zoho's products do not always say so: one that begins with `{`
comes as `application/x-www-form-urlencoded`, and a field `JSONString` as `text/plain`.
"""

from __future__ import annotations

import json
from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl

import orjson

from services.webhook_gateway.requests.refusals import Malformed

Pairs = list[tuple[str, str]]

_MOST_FIELDS = 1000
_URLENCODED = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_JSON_FIELD = "JSONString"


def parse_json(body: bytes | str) -> Any:
    """Parse a body as JSON.

    Raises:
        Malformed: it is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_odd_json(body)


def parse_pairs(text: str) -> Pairs:
    """Return the pairs of a query or an urlencoded body, decoded, in their order."""
    try:
        return parse_qsl(
            text, keep_blank_values=True, errors="surrogateescape", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise Malformed(f"more than {_MOST_FIELDS} fields") from None


def form_of(content_type: str, body: bytes) -> Pairs | None:
    """Return the fields of a form. None when the body is no form.

    Zoho sends urlencoded ones by default from CRM's workflow webhooks, and from older webhooks of
    the finance products. `form-data` can be chosen in Books.
    Source: https://www.zoho.com/books/api/v3/settings/#create-a-webhook (body_type).
    """
    kind = _kind(content_type)
    begins = body[:100].lstrip()
    if begins.startswith(b"{"):
        return None
    if kind == _MULTIPART:
        return _multipart(content_type, body)
    if begins.startswith(f"{_JSON_FIELD}=".encode()):
        return _json_field(body.strip()) or _urlencoded(body)
    return _urlencoded(body) if kind == _URLENCODED else None


def says_form(content_type: str) -> bool:
    """Return whether the sender says that the body is a form."""
    return _kind(content_type) in (_URLENCODED, _MULTIPART)


def packed(value: Any) -> bytes:
    """Return a parsed body as JSON.

    Raises:
        Malformed: it is nested too deeply, since more can be read than written, or it has a name
            that is no text.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise Malformed("the body is nested too deeply, or has a name that is not UTF-8") from None


def object_of(body: bytes, form: Pairs | None) -> dict[str, Any]:
    """Read a body as an object: JSON, the JSON in a field `JSONString`, or the fields.

    Raises:
        Malformed: it cannot be read, or is no object.
    """
    if form is None:
        return _object(parse_json(body))
    fields = {key: _nested(value) for key, value in form}
    nested = fields.pop(_JSON_FIELD, None)
    if nested is None:
        return fields
    # Fields beside it (such as an event name) are kept, but do not override it.
    return {**fields, **_object(parse_json(nested) if isinstance(nested, str) else nested)}


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("the body is not a JSON object")
    return value


def _nested(value: str) -> Any:
    # A form carries a module's record as text: {"customer_id": …}. Other values stay texts.
    if value.startswith("{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            pass
    return value.encode("utf-8", "replace").decode()


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _urlencoded(body: bytes) -> Pairs:
    return parse_pairs(body.decode("utf-8", "surrogateescape"))


def _json_field(body: bytes) -> Pairs | None:
    """The field whose JSON was not encoded, so that a `+` in it is a plus (of a UTC offset)."""
    value = body[len(_JSON_FIELD) + 1 :]
    try:
        orjson.loads(value)
        return [(_JSON_FIELD, value.decode())]
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        return None


def _parse_odd_json(body: bytes | str) -> Any:
    """Parse JSON that may hold half a surrogate pair: a name that was cut inside an emoji."""
    try:
        value = json.loads(body)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        return orjson.loads(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise Malformed("the body is not JSON") from None


def _multipart(content_type: str, body: bytes) -> Pairs:
    header = content_type.replace("\r", "").replace("\n", "")
    message = message_from_bytes(
        b"Content-Type: " + header.encode("latin-1", "replace") + b"\r\n\r\n" + body
    )
    parts = message.get_payload()
    if not isinstance(parts, list):
        raise Malformed("the form has no parts")
    return [_part(part) for part in parts[:_MOST_FIELDS] if isinstance(part, Message)]


def _part(part: Message) -> tuple[str, str]:
    name = part.get_param("name", header="content-disposition")
    content = part.get_payload(decode=True)
    if not isinstance(name, str) or not isinstance(content, bytes):
        raise Malformed("the form has a part without a name")
    return name, content.decode("utf-8", "surrogateescape")
