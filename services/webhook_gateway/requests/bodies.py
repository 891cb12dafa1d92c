"""Parse the bodies of webhooks: JSON, form fields, and a form field that holds JSON."""

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
    kind = content_type.partition(";")[0].strip().lower()
    if kind == _URLENCODED:
        return parse_pairs(body.decode("utf-8", "surrogateescape"))
    if kind == "multipart/form-data":
        return _multipart(content_type, body)
    return None


def object_of(body: bytes, form: Pairs | None) -> dict[str, Any]:
    """Read a body as an object: JSON, the JSON in a field `JSONString`, or the fields.

    Raises:
        Malformed: it cannot be read, or is no object.
    """
    if form is None:
        return _object(parse_json(body))
    fields = {key: _nested(value) for key, value in form}
    nested = fields.pop("JSONString", None)
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
