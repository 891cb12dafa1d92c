"""Verify the signature of what Zoho Billing and Books post.

`X-Zoho-Webhook-Signature` is the hexadecimal HMAC-SHA-256 of: all pairs of the query and of a form
body, sorted by key, keys and values run together. Then the raw body, when it is no form. So it is a
plain HMAC of the body where the URL has no query. It holds no time: replays are recognized by
the event's id.
Source: https://www.zoho.com/billing/kb/webhooks/securing-webhooks.html
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from services.webhook_gateway.requests.bodies import Pairs, parse_pairs
from services.webhook_gateway.requests.refusals import Unauthentic

HEADER = "X-Zoho-Webhook-Signature"


def verify(
    signature: str, secrets: Sequence[bytes], *, query: str, form: Pairs | None, body: bytes
) -> None:
    """Return when one of the secrets made the signature, compared in constant time.

    Args:
        form: the fields of a form.
        body: as sent. Empty when its sender says that it is a form: only its fields are signed.
    Raises:
        Unauthentic: none of them did.
    """
    received = signature.strip().lower().encode("utf-8", "replace")
    for text in _signed_texts(query, form, body):
        for secret in secrets:
            expected = hmac.digest(secret, text, "sha256").hex().encode()
            if hmac.compare_digest(expected, received):
                return
    raise Unauthentic("the signature is not one of ours")


def signed_text(pairs: Pairs, body: bytes) -> bytes:
    """Return the bytes that are signed. Pairs of the same key keep their order: Zoho is silent."""
    ordered = sorted(pairs, key=lambda pair: pair[0])
    text = "".join(key + value for key, value in ordered)
    return text.encode("utf-8", "surrogateescape") + body


def _signed_texts(query: str, form: Pairs | None, body: bytes) -> list[bytes]:
    if form is None and not query:
        return [body]
    parameters = parse_pairs(query)
    texts = [] if form is None else [signed_text(parameters + form, b"")]
    if form is None or body:
        texts.append(signed_text(parameters, body))
        if "%" in query or "+" in query:
            # Decoding is documented for forms only: beside a body that is signed as it was sent,
            # the query may be too.
            texts.append(signed_text(_undecoded(query), body))
    return texts


def _undecoded(query: str) -> Pairs:
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return [(key, value) for key, _, value in pairs]
