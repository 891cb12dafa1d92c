"""Read every line of every log below a folder, and find what must not be in it.

A finding names kind, file, line, event and field. It never holds the value itself.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.kit.leak_search import SHORTEST, Finding, Needle, search, texts
from tests.logs.shapes import Match, shapes_in

_WORD = re.compile(r"\w+")
_NOT_TOLD = "(not told: it lies in there)"


@dataclass(frozen=True)
class Place:
    """The place of a finding. `event` and `field` are empty in a line that is not ours."""

    kind: str
    form: str
    file: str
    line: int
    event: str = ""
    field: str = ""
    test: str = ""

    def __str__(self) -> str:
        details = {"event": self.event, "field": self.field, "test": self.test}
        told = "".join(f", {name} {value}" for name, value in details.items() if value)
        return f"{self.kind} as {self.form} in {self.file}, line {self.line}{told}"


@dataclass
class Reading:
    lines: int = 0
    places: list[Place] = field(default_factory=list)

    def told(self, most: int = 40) -> Iterator[str]:
        """One line for each kind, form, file, event and field, with the first place of each."""
        alike: dict[tuple[str, ...], list[Place]] = defaultdict(list)
        for one in self.places:
            alike[one.kind, one.form, one.file, one.event, one.field].append(one)
        for places in list(alike.values())[:most]:
            yield f"{places[0]} ({len(places)} ×)"
        if len(alike) > most:
            yield f"… and {len(alike) - most} more"


def read(
    folder: Path,
    needles: Iterable[Needle],
    *,
    test_of: Callable[[str, int], str] = lambda _file, _line: "",
) -> Reading:
    """Search all files below `folder`.

    `test_of` names the test that was running when a line of a file was written, if it is known.
    """
    return _Reader(folder, set(needles), test_of).read()


class _Reader:
    def __init__(
        self, folder: Path, needles: set[Needle], test_of: Callable[[str, int], str]
    ) -> None:
        self._folder, self._test_of = folder, test_of
        self._names = _by_first_word(one.value for one in needles if one.kind == "name")
        self._needles = {one for one in _escaped(needles) if _can_be_searched(one.value)}
        self._found: dict[tuple[str, str, str, int], Place] = {}

    def read(self) -> Reading:
        paths = sorted(path for path in self._folder.rglob("*") if path.is_file())
        lines = sum(map(self._read, paths))
        if lines and self._needles:
            for finding in search([self._folder], self._needles, integers=False):
                self._locate(finding)
        places = sorted(self._found.values(), key=lambda one: (one.file, one.line, one.kind))
        return Reading(lines, places)

    def _read(self, path: Path) -> int:
        """Look at each line by itself. Returns how many there are."""
        lines = _lines(path)
        for number, line in enumerate(lines, 1):
            for match in self._matches(line):
                self._add(match.kind, "text", path, number, line)
        return len(lines)

    def _matches(self, line: str) -> Iterator[Match]:
        yield from shapes_in(line)
        for word in _WORD.finditer(line):
            for name in self._names.get(word[0], ()):
                end = word.start() + len(name)
                if line.startswith(name, word.start()) and not _WORD.match(line, end):
                    yield Match("name", word.start(), end)

    def _locate(self, finding: Finding) -> None:
        """The lines of what was found in a file, in whatever form a program may leave it."""
        if (finding.kind, finding.encoding) == ("name", "text"):
            return  # found line by line, between borders of words
        forms = self._forms[finding.kind, finding.encoding]
        for number, line in enumerate(_lines(finding.path), 1):
            raw = line.encode(errors="surrogateescape")
            if any(form in raw for form in forms):
                self._add(finding.kind, finding.encoding, finding.path, number, line)

    @cached_property
    def _forms(self) -> dict[tuple[str, str], set[bytes]]:
        forms: dict[tuple[str, str], set[bytes]] = defaultdict(set)
        for needle in self._needles:
            for encoding, form in texts(needle.value):
                forms[needle.kind, encoding].add(form)
        return forms

    def _add(self, kind: str, form: str, path: Path, number: int, line: str) -> None:
        file = str(path.relative_to(self._folder))
        if (kind, form, file, number) not in self._found:
            event, where = self._described(line)
            place = Place(kind, form, file, number, event, where, self._test_of(file, number))
            self._found[kind, form, file, number] = place

    def _described(self, line: str) -> tuple[str, str]:
        """The event of a line of ours and the fields that hold something, if they may be shown."""
        try:
            logged = json.loads(line)
        except ValueError:
            return "", ""
        if not isinstance(logged, dict):
            return "", ""
        # The event has a column of its own, which shows more when it is withheld.
        values = {key: value for key, value in logged.items() if key != "event"}
        where = [
            _NOT_TOLD if self._holds(key) else key
            for key, value in values.items()
            if self._holds(key) or self._holds(json.dumps(value, ensure_ascii=False))
        ]
        event = str(logged.get("event", ""))
        return _NOT_TOLD if self._holds(event) else event, " ".join(where)

    def _holds(self, text: str) -> bool:
        if any(True for _ in self._matches(text)):
            return True
        raw = text.encode(errors="surrogateescape")
        return any(form in raw for forms in self._forms.values() for form in forms)


def _escaped(needles: set[Needle]) -> set[Needle]:
    """Values also as JSON of letters that are not ASCII has them."""
    return needles | {Needle(one.kind, json.dumps(one.value)[1:-1]) for one in needles}


Names = dict[str, set[str]]


def _by_first_word(names: Iterable[str]) -> Names:
    found: Names = defaultdict(set)
    for name in names:
        for form in {name, name.lower()} if " " in name else {name}:
            if first := _WORD.match(form):
                found[first[0]].add(form)
    return found


def _can_be_searched(value: str) -> bool:
    # Some letters have the byte of a line break in UTF-16, which the search takes no pattern with.
    return len(value) >= SHORTEST and not any(b"\n" in form for _, form in texts(value))


def _lines(path: Path) -> list[str]:
    # Not splitlines(): it also splits at characters that are no ends of lines in a log.
    lines = path.read_bytes().decode(errors="surrogateescape").split("\n")
    return lines if lines[-1] else lines[:-1]
