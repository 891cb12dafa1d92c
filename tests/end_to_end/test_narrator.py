"""Test that a terminal and a pipe both get the whole story."""

from __future__ import annotations

import io
import re

from rich.console import Console

from deploy.demo.narrator import Narrator


def _told(*, person: bool) -> str:
    text = io.StringIO()
    narrator = Narrator(Console(file=text, force_terminal=person, width=100))
    with narrator.chapter("A user signs up"):
        narrator.published("user.signed_up.v1", "[Ada] Fairweather")
        narrator.show({"total": "19.0", "lines": [{"rate": "19.0"}]})
    narrator.table("Users", ("user", "name"), [("u-1", "Ada")])
    return text.getvalue()


def test_a_pipe_gets_plain_lines() -> None:
    assert re.sub(r"in \d.\d s", "in 0.0 s", _told(person=False)).splitlines() == [
        "",
        "1. A user signs up",
        "   published   user.signed_up.v1                 [Ada] Fairweather",
        "               total: 19.0",
        "               lines: rate 19.0",
        "   came true in 0.0 s",
        "",
        "Users",
        "user  name",
        "u-1   Ada ",
    ]


def test_what_a_person_sees_is_not_wiped_out_by_what_turns() -> None:
    lines = [line.rpartition("\x1b[2K")[2] for line in _told(person=True).split("\n")]

    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in lines]
    assert "   published   user.signed_up.v1                 [Ada] Fairweather" in shown
