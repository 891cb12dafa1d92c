"""Zoho's rule for Billing and Books. Rule: docs/zoho/finance.md §3.4."""

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlencode

import hypothesis.strategies as st
import pytest
from hypothesis import given

from services.webhook_gateway.requests.bodies import Pairs, form_of
from services.webhook_gateway.requests.refusals import Malformed, Unauthentic
from services.webhook_gateway.signatures.finance import signed_text, verify

EVENT = b'{"created_date":"2019-03-06","event_id":"5675"}'
NAMES = '{"event_id":"1","data":{"customer":{"display_name":"José Ñandú 株式会社"}}}'.encode()
VECTORS = [
    (
        "ZohoTestSecret123",
        "subscription_id=90343&name=basic",
        None,
        EVENT,
        "2f3b365f39b1d8036395bd4ab078e4dc80e20f7a1bc1bf667a70abe824ed83e6",
    ),
    (
        "ZohoTestSecret123",
        "",
        None,
        EVENT,
        "e5071fee0fbabd2c181d744a45aa8bc0108416e6014f7a1ed9b3ebf5340e6a36",
    ),
    (
        "ZohoTestSecret123",
        "",
        None,
        NAMES,
        "a2ea40dddf6d4d541247ca8ce07e43059996a77a50c11d5b40a77b6355c82ef8",
    ),
    (
        "ZohoTestSecret123",
        "a=1&b=x+y",
        [("customer_name", "Bowman Furniture"), ("amount", "100.50")],
        b"",
        "7c4358af2d4abd29cf6f6afa1020953705772e63f510ff07965b1773060c44f0",
    ),
    (
        "mysecretkey12",
        "",
        None,
        b'{"test":true}',
        "beeba5fe977923913952d4d245be79be8daaea0e1d7c2785731491518b098653",
    ),
]


def is_signed(
    signature: str, secrets: Sequence[bytes], *, query: str, form: Pairs | None, body: bytes
) -> bool:
    try:
        verify(signature, secrets, query=query, form=form, body=body)
    except Unauthentic:
        return False
    return True


@pytest.mark.parametrize(("secret", "query", "form", "body", "signature"), VECTORS)
def test_the_references_vectors_are_accepted_and_no_other_signature(
    secret: str, query: str, form: Pairs | None, body: bytes, signature: str
) -> None:
    if form is not None:
        body = urlencode(form).encode()
    known = [b"another-secret", secret.encode()]

    assert is_signed(signature, known, query=query, form=form, body=body)
    assert is_signed(f" {signature.upper()} ", known, query=query, form=form, body=body)

    for wrong in ("", "0" * 64, signature[:-1], signature + "0", "é" * 64):
        assert not is_signed(wrong, known, query=query, form=form, body=body)
    assert not is_signed(signature, [b"another-secret"], query=query, form=form, body=body)
    assert not is_signed(signature, [], query=query, form=form, body=body)
    assert not is_signed(signature, known, query=query + "&x=1", form=form, body=body)
    if form is None:
        assert not is_signed(signature, known, query=query, form=None, body=body + b" ")


def test_the_documented_example_is_run_together_as_documented() -> None:
    text = signed_text([("subscription_id", "90343"), ("name", "basic")], EVENT)

    assert text == b"namebasicsubscription_id90343" + EVENT


def test_an_encoded_query_is_accepted_as_it_stands_and_decoded() -> None:
    for signed in (b"note" + b"a b" + EVENT, b"note" + b"a%20b" + EVENT):
        signature = hmac.new(b"s", signed, hashlib.sha256).hexdigest()
        assert is_signed(signature, [b"s"], query="note=a%20b", form=None, body=EVENT)


@given(
    st.dictionaries(st.text(min_size=1), st.text()), st.dictionaries(st.text(min_size=1), st.text())
)
def test_whatever_fields_a_form_has_they_are_signed_decoded(
    query: dict[str, str], fields: dict[str, str]
) -> None:
    pairs = sorted([*query.items(), *fields.items()], key=lambda pair: pair[0])
    text = "".join(key + value for key, value in pairs)
    signature = hmac.new(b"s", text.encode(), hashlib.sha256).hexdigest()
    body = urlencode(fields).encode()

    form = form_of("application/x-www-form-urlencoded", body)

    assert is_signed(signature, [b"s"], query=urlencode(query), form=form, body=body)


def test_too_many_fields_are_refused_before_they_are_taken_apart() -> None:
    with pytest.raises(Malformed):
        form_of("application/x-www-form-urlencoded", b"a=1&" * 2000)
