"""Collect and show what `zoho-relay doctor` found, line by line."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import groupby
from textwrap import wrap

import orjson
from rich.console import Console
from rich.text import Text


class FindingState(StrEnum):
    OK = "ok"
    WRONG = "wrong"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """One line. Texts hold names of variables, fields and codes. No secret, no id of Zoho's."""

    area: str
    check: str
    state: FindingState
    found: str = ""
    todo: str = ""


class Findings:
    """Collects them, in the order in which they were found."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def ok(self, area: str, check: str, found: str = "") -> None:
        self.all.append(Finding(area, check, FindingState.OK, found))

    def wrong(self, area: str, check: str, found: str, todo: str) -> None:
        self.all.append(Finding(area, check, FindingState.WRONG, found, todo))

    def not_checked(self, area: str, check: str, found: str, todo: str = "") -> None:
        self.all.append(Finding(area, check, FindingState.NOT_CHECKED, found, todo))

    @property
    def anything_wrong(self) -> bool:
        return any(one.state is FindingState.WRONG for one in self.all)


_STYLES = {
    FindingState.OK: "green",
    FindingState.WRONG: "bold red",
    FindingState.NOT_CHECKED: "yellow",
}
_INDENT = 15


def show_findings(findings: Findings, *, as_json: bool) -> None:
    """By area: for a person in colours and lines that fit, in a pipe plain."""
    if as_json:
        rows = [asdict(one) for one in findings.all]
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    people = sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=True, color_system="auto" if people else None)
    width = max(console.width, 60) if people else 160
    for area, lines in groupby(findings.all, key=lambda one: one.area):
        console.print(Text(area, style="bold"))
        for one in lines:
            console.print(_line(one, width))
    console.print(Text(_summary(findings)))


def _line(one: Finding, width: int) -> Text:
    said = f"{one.check}: {one.found}" if one.found else one.check
    text = Text()
    text.append(f"  {one.state.value:<{_INDENT - 2}}", style=_STYLES[one.state])
    text.append("\n".join(_wrapped(said, "", width)).strip())
    if one.todo:
        text.append("\n" + "\n".join(_wrapped(one.todo, "→ ", width)))
    return text


def _wrapped(said: str, mark: str, width: int) -> list[str]:
    return wrap(
        said,
        width,
        initial_indent=" " * _INDENT + mark,
        subsequent_indent=" " * (_INDENT + len(mark)),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summary(findings: Findings) -> str:
    counts = {state: sum(one.state is state for one in findings.all) for state in FindingState}
    return (
        f"{counts[FindingState.WRONG]} wrong, {counts[FindingState.NOT_CHECKED]} not checked, "
        f"{counts[FindingState.OK]} ok."
    )
