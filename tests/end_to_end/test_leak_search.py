"""Test that the search which everything else relies on is able to find."""

import base64
from pathlib import Path

import pytest

from tests.kit.leak_search import WINDOW, Needle, search, windows

ZOHO_ID = "4600000000012345678"
EMAIL = "zoë.quill@example.net"


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        ("text", ZOHO_ID.encode()),
        ("utf-16-le", ZOHO_ID.encode("utf-16-le")),
        ("utf-16-be", ZOHO_ID.encode("utf-16-be")),
        ("hex", ZOHO_ID.encode().hex().encode()),
        ("HEX", ZOHO_ID.encode().hex().upper().encode()),
        ("base64", base64.b64encode(ZOHO_ID.encode())),
        ("base64", base64.b64encode(b"a" + ZOHO_ID.encode() + b"tail")),
        ("base64", base64.urlsafe_b64encode(b"ab" + ZOHO_ID.encode() + b"tail")),
        ("8-byte integer, big-endian", int(ZOHO_ID).to_bytes(8, "big")),
        ("8-byte integer, little-endian", int(ZOHO_ID).to_bytes(8, "little")),
    ],
)
def test_a_planted_id_is_found_in_every_form(tmp_path: Path, encoding: str, form: bytes) -> None:
    (tmp_path / "segment").write_bytes(b"\0\xff\n" * 1000 + form + b"\x01\n" * 1000)

    findings = search([tmp_path], [Needle("customer id", ZOHO_ID)])

    assert encoding in {f.encoding for f in findings}
    assert {f.kind for f in findings} == {"customer id"}


@pytest.mark.parametrize("within", range(9))
def test_an_integer_is_found_across_the_parts_that_are_read(tmp_path: Path, within: int) -> None:
    form = int(ZOHO_ID).to_bytes(8, "big")
    (tmp_path / "segment").write_bytes(b"\xff" * (WINDOW - within) + form + b"\xff" * 20)

    findings = search([tmp_path], [Needle("customer id", ZOHO_ID)])

    assert [f.encoding for f in findings] == ["8-byte integer, big-endian"]


def test_a_file_cut_off_while_it_is_read_ends_there(tmp_path: Path) -> None:
    segment = tmp_path / "segment"
    segment.write_bytes(b"\xff" * (3 * WINDOW))

    parts = windows(segment)
    first = next(parts)
    segment.write_bytes(b"")

    assert len(first) == WINDOW
    assert list(parts) == []


def test_a_planted_email_is_found_among_many_values(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_bytes(b'{"event":"sent"}\n{"to":"' + EMAIL.encode() + b'"}\n')
    others = [Needle("email", f"person{n}@example.net") for n in range(300)]

    findings = search([tmp_path], [*others, Needle("email", EMAIL)])

    assert [f.path.name for f in findings] == ["log"]


def test_clean_files_give_no_findings(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"460000000001234567\n" * 10)  # one digit short

    assert search([tmp_path], [Needle("customer id", ZOHO_ID)]) == []


def test_a_folder_that_is_not_there_is_an_error_not_a_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        search([tmp_path / "gone"], [Needle("customer id", ZOHO_ID)])
