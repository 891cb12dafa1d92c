import base64

import pytest

from shared.crypto.keyring import KeyRing
from tests.kit.fresh_keys import fresh_key


def test_the_first_key_writes_and_all_read() -> None:
    ring = KeyRing.parse(f"{fresh_key('new')}, {fresh_key('old')}")

    assert ring.writing.id == "new"
    assert [key.id for key in ring] == ["new", "old"]
    assert ring.get("old") is not None
    assert ring.get("gone") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one key"),
        ("c2VjcmV0c2VjcmV0", "key 1 is not of the form id:base64"),
        ("a b:c2VjcmV0", "key 1 is not of the form id:base64"),
        ("k1:c2VjcmV0!", "key 1 (k1) is not base64"),
        ("k1:c2VjcmV0", "key 1 (k1) has 6 bytes instead of 32"),
        (f"{fresh_key('k1')},{fresh_key('k1')}", "same id"),
    ],
)
def test_a_bad_ring_says_what_is_wrong_and_shows_no_secret(text: str, says: str) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        KeyRing.parse(text)

    assert says in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


def test_what_is_printed_shows_ids_only() -> None:
    text = fresh_key("k1")
    ring = KeyRing.parse(text)

    shown = f"{ring!r} {ring.writing!r}"

    assert "k1" in shown
    assert text.split(":")[1] not in shown
    assert repr(base64.b64decode(text.split(":")[1])) not in shown
