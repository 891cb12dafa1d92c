"""Collect and show what `zoho-relay doctor` found, line by line."""

from __future__ import annotations

import sys
from collections import Counter
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
    """One line. Its texts hold names of variables, fields and codes, no secret and no Zoho id."""

    area: str
    check: str
    state: FindingState
    found: str = ""
    todo: str = ""


class Findings:
    """Collect findings, in the order in which they are made."""

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
        return any(finding.state is FindingState.WRONG for finding in self.all)


_STYLES = {
    FindingState.OK: "green",
    FindingState.WRONG: "bold red",
    FindingState.NOT_CHECKED: "yellow",
}
_INDENT = 15


def show_findings(findings: Findings, *, as_json: bool) -> None:
    """Print by area: with colours and lines that fit a terminal, plainly in a pipe."""
    if as_json:
        rows = [asdict(finding) for finding in findings.all]
        sys.stdout.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    people = sys.stdout.isatty()
    console = Console(highlight=False, soft_wrap=True, color_system="auto" if people else None)
    width = max(console.width, 60) if people else 160
    for area, of_area in groupby(findings.all, key=lambda finding: finding.area):
        console.print(Text(area, style="bold"))
        for finding in of_area:
            console.print(_line(finding, width))
    console.print(Text(_summary(findings)))


def _line(finding: Finding, width: int) -> Text:
    result = f"{finding.check}: {finding.found}" if finding.found else finding.check
    line = Text()
    line.append(f"  {finding.state.value:<{_INDENT - 2}}", style=_STYLES[finding.state])
    line.append("\n".join(_wrapped(result, "", width)).strip())
    if finding.todo:
        line.append("\n" + "\n".join(_wrapped(finding.todo, "→ ", width)))
    return line


def _wrapped(text: str, mark: str, width: int) -> list[str]:
    return wrap(
        text,
        width,
        initial_indent=" " * _INDENT + mark,
        subsequent_indent=" " * (_INDENT + len(mark)),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _summary(findings: Findings) -> str:
    counts = Counter(finding.state for finding in findings.all)
    return (
        f"{counts[FindingState.WRONG]} wrong, {counts[FindingState.NOT_CHECKED]} not checked, "
        f"{counts[FindingState.OK]} ok."
    )
