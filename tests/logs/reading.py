"""Every line of every log below a folder, and what in them must not be there.

What is found is told by kind, file, line, event and field. The value itself is told to nobody.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.end_to_end.leak_search import SHORTEST, Needle, search, texts
from tests.logs.shapes import Match, shapes_in

_WORD = re.compile(r"\w+")
_NOT_TOLD = "(not told: it lies in there)"


@dataclass(frozen=True)
class Place:
    """Where something was found. `event` and `field` are empty in a line that is not ours."""

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
    files: Counter[str] = field(default_factory=Counter)
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
    """Search all files below `folder`, which must hold some.

    `test_of` names the test that was running when a line of a file was written, if it is known.
    """
    wanted = set(needles)
    names = _by_first_word(needle.value for needle in wanted if needle.kind == "name")
    reading = Reading()
    found: dict[tuple[str, str, str, int], Place] = {}

    def add(kind: str, form: str, file: str, number: int, line: str) -> None:
        event, where = _described(line, names, kind)
        place = Place(kind, form, file, number, event, where, test_of(file, number))
        found.setdefault((kind, form, file, number), place)

    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        file = str(path.relative_to(folder))
        for number, line in enumerate(_lines(path), 1):
            reading.files[file] += 1
            for match in _matches(line, names):
                add(match.kind, "text", file, number, line)
    for kind, form, path, number, line in _exact(folder, wanted):
        add(kind, form, str(path.relative_to(folder)), number, line)
    reading.lines = reading.files.total()
    reading.places = sorted(found.values(), key=lambda place: (place.file, place.line, place.kind))
    return reading


def _exact(folder: Path, needles: set[Needle]) -> Iterator[tuple[str, str, Path, int, str]]:
    """Values in every form in which a program may leave them: text, hexadecimal, base64, …"""
    # An id is told by its look as text; the names are matched between borders of words.
    long = {needle for needle in _escaped(needles) if len(needle.value) >= SHORTEST}
    if not long or not any(path.stat().st_size for path in folder.rglob("*") if path.is_file()):
        return
    for finding in search([folder], long, integers=False):
        if (finding.kind, finding.encoding) == ("name", "text"):
            continue
        forms = {
            form
            for needle in long
            if needle.kind == finding.kind
            for encoding, form in texts(needle.value)
            if encoding == finding.encoding
        }
        for number, line in enumerate(_lines(finding.path), 1):
            if any(form in line.encode(errors="surrogateescape") for form in forms):
                yield finding.kind, finding.encoding, finding.path, number, line


def _lines(path: Path) -> list[str]:
    # Not splitlines(): it also splits at characters that are no ends of lines in a log.
    lines = path.read_bytes().decode(errors="surrogateescape").split("\n")
    return lines if lines[-1] else lines[:-1]


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


def _matches(line: str, names: Names) -> Iterator[Match]:
    yield from shapes_in(line)
    for word in _WORD.finditer(line):
        for name in names.get(word[0], ()):
            end = word.start() + len(name)
            if line.startswith(name, word.start()) and not _WORD.match(line, end):
                yield Match("name", word.start(), end)


def _described(line: str, names: Names, kind: str) -> tuple[str, str]:
    """The event of a line of ours and the fields in which it lies, if they can be told."""
    try:
        logged = json.loads(line)
    except ValueError:
        return "", ""
    if not isinstance(logged, dict):
        return "", ""
    where = [
        str(name)
        for name, value in logged.items()
        if any(match.kind == kind for match in _matches(json.dumps(value), names))
    ]
    event = str(logged.get("event", ""))
    told = _NOT_TOLD if any(True for _ in _matches(event, names)) else event
    keys = [_NOT_TOLD if any(True for _ in _matches(key, names)) else key for key in where]
    return told, " ".join(keys)
