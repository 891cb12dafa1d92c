"""Test what is found in a log line, what is not, and what a finding reveals."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.kit.leak_search import Needle
from tests.logs import values
from tests.logs.reading import Place, Reading, read

LOOKS = [
    ("email", "ada@example.org"),
    ("email", "zoë.quill+tag@mail.example.net"),
    ("token", "1000.8cb99dxxxx.9be93a9b8x1234"),
    ("token", "Zoho-oauthtoken abcdef"),
    ("token", "Bearer c2VjcmV0"),
    ("token", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"),
    ("secret", "amqp://relay:pw-of-nobody@127.0.0.1:5672/"),
    ("secret", "postgresql://:pw@localhost/relay"),
    ("secret", "-----BEGIN RSA PRIVATE KEY"),
    ("Zoho id", "460000000026049"),
    ("Zoho id", "customer_4600000000012345678"),
    ("Zoho id", "4111111111111111"),
]
KNOWN = [
    Needle("name", "Ada"),
    Needle("name", "Grace Sundown"),
    Needle("secret", "whsec-of-nobody"),
    Needle("phone", "+491701234567"),
    Needle("text", "It does not work."),
]
CLEAN = [
    '{"traceparent":"00-12345678901234567890123456789012-1234567890123456-01","event":"done"}',
    '{"duration_s":0.012345678901234567,"event":"done"}',
    '{"correlation_id":"12345678901234567a0b4c0d8e0f0a0b","event":"done"}',
    "  Logs: rabbitmq/zoho_relay@localhost_upgrade.log",
    '{"note":"[email] of [redacted] with [token] and [id]","event":"Adamant"}',
    "connected to amqp://127.0.0.1:5672/, retried 3 times at 12:34:56",
    "grace sun Grace Sundowner, secret, does not work",
    "<0.2131.0> rabbit@host: 12345678901234",
    "<0.9.0>        max => 288230376151711743,",
    "<0.9.0>        [163419822885029098|196888601065583229]}},",
]


def reading_of(folder: Path, *lines: str, needles: list[Needle] = KNOWN) -> Reading:
    (folder / "one").write_text("".join(f"{line}\n" for line in lines))
    return read(folder, needles)


@pytest.mark.parametrize(("kind", "value"), LOOKS)
def test_a_value_is_found_by_its_look(tmp_path: Path, kind: str, value: str) -> None:
    reading = reading_of(tmp_path, "first", f'{{"note":"so {value}."}}', needles=[])

    assert {(one.kind, one.line) for one in reading.places} == {(kind, 2)}


@pytest.mark.parametrize("needle", KNOWN)
def test_a_known_value_is_found(tmp_path: Path, needle: Needle) -> None:
    line = json.dumps({"event": "sent", "reason": f"to {needle.value}, at once"})

    (place,) = reading_of(tmp_path, "first", "second", line).places

    assert place == Place(needle.kind, "text", "one", 3, "sent", place.field)
    assert place.field in ("reason", "")


@pytest.mark.parametrize(
    ("form", "turned"),
    [
        ("hex", lambda raw: raw.hex()),
        ("base64", lambda raw: base64.b64encode(b"a" + raw + b"tail").decode()),
    ],
)
def test_a_known_value_is_found_in_other_forms(tmp_path: Path, form: str, turned) -> None:  # type: ignore[no-untyped-def]
    needles = [*KNOWN[1:], Needle("email", "zoë.quill@example.net")]
    lines = [turned(needle.value.encode()) for needle in needles]

    reading = reading_of(tmp_path, *lines, needles=needles)

    assert [(one.kind, one.form) for one in reading.places] == [(n.kind, form) for n in needles]


def test_characters_that_json_escapes_hide_nothing(tmp_path: Path) -> None:
    needle = Needle("text", "José fragt nach Öl")

    assert reading_of(tmp_path, json.dumps({"x": needle.value}), needles=[needle]).places
    assert reading_of(tmp_path, f'{{"x":"{needle.value}"}}', needles=[needle]).places


@pytest.mark.parametrize("line", CLEAN)
def test_what_is_nobodys_is_not_found(tmp_path: Path, line: str) -> None:
    reading = reading_of(tmp_path, line)

    assert not reading.places
    assert reading.lines == 1


def test_a_finding_never_holds_the_value(tmp_path: Path) -> None:
    found = [value for _, value in LOOKS] + [needle.value for needle in KNOWN]
    lines = [
        line
        for value in found
        for line in (value, json.dumps({"event": value, value: value, "logger": "shared.x"}))
    ]

    told = "\n".join(reading_of(tmp_path, *lines).told())

    assert told.count(" in one, line ") >= len({kind for kind, _ in LOOKS})
    assert not [value for value in found if value in told]


def test_what_a_sandbox_recorded_is_what_to_look_for() -> None:
    body = {"display_name": "Ada King", "phone": "+49 170 1", "cf": [{"value": "u1"}]}
    answer = {
        "json": {"customer": {"customer_id": "460000000026049", "email": "ada@example.com"}},
        "type": "application/json",
    }
    exchange = {
        "path": "/billing/v1/customers/460000000026050",
        "query": {"JSONString": json.dumps({"subject": "My invoice is wrong"})},
        "headers": {"Authorization": "sha256:0"},
        "body": body,
        "answer": answer,
    }

    assert set(values.recorded([json.dumps(exchange).encode()])) == {
        Needle("name", "Ada King"),
        Needle("phone", "+49 170 1"),
        Needle("Zoho id", "460000000026049"),
        Needle("Zoho id", "460000000026050"),
        Needle("email", "ada@example.com"),
        Needle("text", "My invoice is wrong"),
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("amqp://relay:pa55word@127.0.0.1/", {"pa55word"}),
        ("postgresql://127.0.0.1/relay", set()),
        ("amqp://[not-an-address", set()),
        ("one-secret,two-secret", {"one-secret", "two-secret"}),
        ("k1:YWJjZGVmZ2g=", {"k1:YWJjZGVmZ2g=", "YWJjZGVmZ2g="}),
        ("secret", set()),
        ("s", set()),
    ],
)
def test_what_of_a_setting_is_secret(text: str, parts: set[str]) -> None:
    assert {needle.value for needle in values.secret(text)} == parts


def test_names_are_read_from_the_tests_themselves(tmp_path: Path) -> None:
    source = tmp_path / "test_one.txt"
    source.write_text(
        'sign_up(full_name="Ada King")\n'
        '{"last_name": "Sundown", "first_name": given}\n'
        'f(display_name=f"Per {n}", full_name="a")\n'
    )

    assert {needle.value for needle in values.given_in([source])} == {"Ada King", "Sundown"}
