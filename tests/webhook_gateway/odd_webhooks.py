"""Make odd webhooks of sound ones: bodies, headers and queries changed at random."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final
from urllib.parse import quote_from_bytes, urlencode

from services.webhook_gateway.requests.bodies import form_of, parse_pairs, says_form
from services.webhook_gateway.requests.refusals import Malformed
from services.webhook_gateway.signatures.finance import signed_text
from tests.webhook_gateway.conftest import CHANNEL_TOKEN, SECRET, WORKFLOW_SECRET

JSON, FORM, TEXT = "application/json", "application/x-www-form-urlencoded", "text/plain"


@dataclass(frozen=True)
class Webhook:
    """A request. `authentic`: it carries the proof that Zoho's would."""

    product: str
    body: bytes
    headers: dict[bytes, bytes] = field(default_factory=dict)
    query: bytes = b""
    authentic: bool = False
    ends_early: bool = False

    def on_the_wire(self) -> bytes:
        path = f"/webhooks/{self.product}".encode() + (b"?" + self.query if self.query else b"")
        length = len(self.body) + 10 if self.ends_early else len(self.body)
        headers = {b"Host": b"x", **self.headers, b"Content-Length": str(length).encode()}
        lines = [name + b": " + value for name, value in headers.items()]
        return b"POST " + path + b" HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + self.body


_EVENT: Final = {
    "event_id": "1234567890123456789",
    "event_type": "subscription_renewed",
    "event_time": "2026-01-31T10:00:00+0530",
    "data": {"subscription": {"subscription_id": "903000000012345678", "amount": 100.1}},
}
_NOTICE: Final = {
    "server_time": 1769882400000,
    "module": "Contacts",
    "ids": ["4876876000000000001"],
    "operation": "update",
    "token": CHANNEL_TOKEN,
}
_DESK: Final = [
    {
        "eventType": "Ticket_Update",
        "eventTime": "1769882400000",
        "orgId": "62983471",
        "payload": {"id": "204600000000000001", "subject": "Größe", "status": "Open"},
    }
]
_PART: Final = b'--B\r\nContent-Disposition: form-data; name="event_type"\r\n\r\nx\r\n--B--\r\n'


def _seed(product: str, body: object, content_type: str) -> Webhook:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Webhook(product, raw, {b"Content-Type": content_type.encode()})


_FIELDS: Final = urlencode({"event_type": "invoice_updated", "invoice": '{"invoice_id":"7"}'})
SEEDS: Final = [
    _seed("billing", _EVENT, JSON),
    _seed("billing", _EVENT, FORM),
    _seed("books", {"organization_id": "1", "invoice": {"invoice_id": "2"}}, JSON),
    _seed("books", _FIELDS.encode(), FORM),
    _seed("billing", urlencode({"JSONString": json.dumps(_EVENT)}).encode(), FORM),
    _seed("billing", b"JSONString=" + json.dumps(_EVENT).encode(), TEXT),
    _seed("books", _PART, "multipart/form-data; boundary=B"),
    _seed("crm", _NOTICE, JSON),
    _seed("crm", urlencode({"contact_id": "1"}).encode(), FORM),
    _seed("desk", _DESK, JSON),
]
_TOKENS: Final = [
    b"[" * 300,
    b'{"a":' * 260,
    b'{"a":' * 130 + b"1" + b"}" * 130,
    b"\\ud83d",
    b"NaN",
    b"1e999",
    b"-0",
    b"9" * 5000,
    b"%FF=1&",
    b"%",
    b"&" * 1001,
    b"JSONString=",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b'"eventType":',
    b"null",
    b"--B",
    b"\r\n\r\n",
    b"+",
    b'"',
    b"{}",
    b"[]",
]
_TYPES: Final = [
    *(JSON.encode(), FORM.encode(), TEXT.encode(), b"", b"multipart/form-data"),
    *(b"multipart/form-data; boundary=", b"application/json; charset=utf-7", b"\xff/\xfe"),
    b"multipart/form-data; boundary=" + b"B" * 300,
]
_NAMES: Final = [
    *(b"X-Zoho-Webhook-Signature", b"X-Webhook-Secret", b"X-ZDesk-JWT", b"Content-Type"),
    *(b"Content-Encoding", b"Expect", b"X-Forwarded-For", b"Accept-Encoding", b"Cookie"),
]
_VALUES: Final = [
    b"",
    b"\xff\xfe",
    b"0" * 64,
    b"gzip",
    b"deflate",
    b"br",
    b"100-continue",
    b"a.b.c",
]


class OddWebhooks:
    """Draws webhooks. The same seed draws the same ones.

    Args:
        desk_token: a JWT as Desk signs it.
    """

    def __init__(self, seed: int, desk_token: str) -> None:
        self._random = Random(seed)  # noqa: S311
        self._desk_token = desk_token.encode()

    def draw(self, *, authentic: bool) -> Webhook:
        random = self._random
        webhook = random.choice(SEEDS)
        for _ in range(random.choice((0, 1, 1, 2, 3, 6))):
            webhook = replace(webhook, body=self._changed(webhook.body))
        if random.random() < 0.2:
            webhook = replace(webhook, query=self._changed(b"org=default&a=%C3%9F+x")[:400])
            webhook = replace(webhook, query=quote_from_bytes(webhook.query, "=&%+").encode())
        if random.random() < 0.2:
            changed = {**webhook.headers, b"Content-Type": random.choice(_TYPES)}
            webhook = replace(webhook, headers=changed)
        if authentic:
            webhook = self._proven(webhook)
        else:
            body = webhook.body.replace(CHANNEL_TOKEN.encode(), b"not our token")
            webhook = replace(webhook, body=body)
            if random.random() < 0.5:
                webhook = self._proven(webhook, forged=True)
        return self._packed(self._with_odd_headers(webhook))

    def _changed(self, body: bytes) -> bytes:
        random = self._random
        at, to = sorted(random.choices(range(len(body) + 1), k=2))
        changes: list[Callable[[], bytes]] = [
            lambda: body[:at] + random.randbytes(1) + body[at + 1 :],
            lambda: body[:at] + random.randbytes(random.randrange(8)) + body[at:],
            lambda: body[:at] + body[to:],
            lambda: body[:to] + body[at:],
            lambda: body[:at] + random.choice(_TOKENS) + body[at:],
            lambda: body[:at] + random.choice(SEEDS).body + body[to:],
            lambda: random.choice(_TOKENS) + body,
        ]
        return random.choice(changes)()[:300_000]

    def _proven(self, webhook: Webhook, *, forged: bool = False) -> Webhook:
        if webhook.product == "crm":
            secret = WORKFLOW_SECRET if not forged else "not our secret"
            proof = {b"X-Webhook-Secret": secret.encode()}
        elif webhook.product == "desk":
            proof = {b"X-ZDesk-JWT": self._forged_token() if forged else self._desk_token}
        else:
            secret = SECRET if not forged else "not our secret"
            proof = {b"X-Zoho-Webhook-Signature": _signature(webhook, secret)}
        return replace(webhook, headers={**webhook.headers, **proof}, authentic=not forged)

    def _forged_token(self) -> bytes:
        """A token that says something else than what Desk signed, or has no signature of Desk's.

        A change within the signature may decode to the same bytes, and is no forgery then.
        """
        signed, _, signature = self._desk_token.rpartition(b".")
        changed = signed
        while changed.strip() == signed:
            changed = self._changed(signed)
        other = self._random.randbytes(8).hex().encode()
        return self._random.choice((changed + b"." + signature, signed + b"." + other))

    def _with_odd_headers(self, webhook: Webhook) -> Webhook:
        random = self._random
        headers = dict(webhook.headers)
        while random.random() < 0.15:
            name = random.choice((*_NAMES, b"X-" + random.randbytes(4).hex().encode()))
            if name not in webhook.headers or not webhook.authentic:
                value = random.choice((*_VALUES, self._changed(b"text of a header")))
                headers[name] = value.translate(None, b"\r\n")
        ends_early = random.random() < 0.002
        return replace(webhook, headers=headers, ends_early=ends_early)

    def _packed(self, webhook: Webhook) -> Webhook:
        random = self._random
        if random.random() > 0.05:
            return webhook
        pack = random.choice((gzip.compress, zlib.compress, lambda body: body))
        encoding = random.choice((b"gzip", b"deflate", b"identity"))
        body = pack(b" " * 200_000_000 if random.random() < 0.01 else webhook.body)
        return replace(
            webhook, body=body, headers={**webhook.headers, b"Content-Encoding": encoding}
        )


def _signature(webhook: Webhook, secret: str) -> bytes:
    content_type = webhook.headers.get(b"Content-Type", b"").decode("latin-1")
    try:
        form = form_of(content_type, webhook.body)
        parameters = parse_pairs(webhook.query.decode("latin-1"))
        as_form = form is not None and says_form(content_type)
        text = signed_text(parameters + (form or []), b"" if as_form else webhook.body)
        if form is not None and not as_form:
            text = signed_text(parameters, webhook.body)
    except Malformed:
        text = webhook.body
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest().encode()
