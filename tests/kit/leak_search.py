"""Search files for values that must not be there, in every form in which a program may leave them.

A value is looked for as text (UTF-8 and both UTF-16 orders), as hexadecimal (either case), as
base64 (plain and URL-safe, at each of the three alignments) and, when it is a number of up to 63
bits, as an 8-byte integer of either byte order. Whole files are read as bytes: rows that were
deleted but not yet vacuumed, write-ahead log, queue segments and logs are all just files.

`python -m tests.kit.leak_search FOLDER… < values` prints what it finds and exits 1.
"""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SHORTEST = 6  # below this, chance hits in binary files drown what is real
WINDOW = 1 << 22  # bytes of a file read at once


@dataclass(frozen=True)
class Needle:
    """One value that must not be found, with what it is (`customer id`, `email`, …)."""

    kind: str
    value: str


@dataclass(frozen=True)
class Finding:
    """The place of a needle. The value is not repeated, because findings get printed."""

    kind: str
    encoding: str
    path: Path

    def __str__(self) -> str:
        return f"{self.kind} as {self.encoding} in {self.path}"


def search(
    folders: Sequence[Path], needles: Iterable[Needle], *, integers: bool = True
) -> list[Finding]:
    """All findings in all files below the folders, one for each (kind, encoding, file).

    `integers=False` leaves the 8-byte ones out: in text there are none, and thousands take long.

    Raises ValueError on a needle too short to rule out chance, FileNotFoundError on a folder that
    is not there: a search of nothing finds nothing, which proves nothing.
    """
    wanted = set(needles)
    for needle in wanted:
        if len(needle.value) < SHORTEST:
            raise ValueError(f"a {needle.kind} of {len(needle.value)} characters is too short")
    paths = [path for folder in folders for path in _files(folder)]
    if not paths:
        raise FileNotFoundError(f"no files below {', '.join(map(str, folders))}")
    found = {*_search_texts(paths, wanted)}
    if integers:
        found |= {*_search_integers(paths, wanted)}
    return sorted(found, key=lambda finding: (str(finding.path), finding.kind, finding.encoding))


def _files(folder: Path) -> Iterator[Path]:
    if not folder.exists():
        raise FileNotFoundError(folder)
    if folder.is_file():
        yield folder
        return
    for path in folder.rglob("*"):
        try:
            info = path.lstat()
        except FileNotFoundError:
            continue  # removed since it was listed
        if stat.S_ISREG(info.st_mode) and info.st_size:
            yield path


def texts(value: str) -> Iterator[tuple[str, bytes]]:
    """Every textual form of a value, with the name of the form."""
    raw = value.encode()
    yield "text", raw
    yield "utf-16-le", value.encode("utf-16-le")
    yield "utf-16-be", value.encode("utf-16-be")
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):
        # What stands before the value shifts its base64. The characters that also encode
        # neighbours are cut off at both ends.
        encoded = base64.b64encode(b"\0" * shift + raw)
        start = (shift * 8 + 5) // 6
        end = (shift + len(raw)) * 8 // 6
        yield "base64", encoded[start:end]
        yield "base64", encoded[start:end].replace(b"+", b"-").replace(b"/", b"_")


def _search_texts(paths: Sequence[Path], needles: Iterable[Needle]) -> Iterator[Finding]:
    forms: dict[bytes, set[tuple[str, str]]] = defaultdict(set)
    for needle in needles:
        for encoding, form in texts(needle.value):
            if b"\n" in form:
                raise ValueError(f"a {needle.kind} holds a line break")
            forms[form].add((needle.kind, encoding))
    for path, line in _grep(paths, forms):
        for kind, encoding in forms.get(line, ()):
            yield Finding(kind, encoding, path)


def _grep(paths: Sequence[Path], forms: Iterable[bytes]) -> Iterator[tuple[Path, bytes]]:
    """Matches of fixed strings. Grep reads gigabytes with thousands of patterns in one pass."""
    with tempfile.NamedTemporaryFile() as patterns:
        patterns.write(b"\n".join(forms))
        patterns.flush()
        for at in range(0, len(paths), 200):
            done = subprocess.run(
                ["/usr/bin/grep", "-aFoHZ", "-f", patterns.name, "--", *paths[at : at + 200]],
                env={"LC_ALL": "C"},
                capture_output=True,
                check=False,
            )
            if done.returncode > 1 and not _only_vanished(done.stderr):
                raise RuntimeError(f"grep failed: {done.stderr.decode(errors='replace')[:500]}")
            yield from _matches(done.stdout)


def _only_vanished(stderr: bytes) -> bool:
    return all(line.endswith(b"No such file or directory") for line in stderr.splitlines() if line)


def _matches(output: bytes) -> Iterator[tuple[Path, bytes]]:
    for line in output.split(b"\n"):
        name, nul, match = line.partition(b"\0")
        if nul:
            yield Path(name.decode()), match


def _search_integers(paths: Sequence[Path], needles: Iterable[Needle]) -> Iterator[Finding]:
    kinds: dict[bytes, tuple[str, str]] = {}
    for needle in needles:
        if needle.value.isdecimal() and int(needle.value) < 2**63:
            number = int(needle.value)
            kinds[number.to_bytes(8, "big")] = (needle.kind, "8-byte integer, big-endian")
            kinds[number.to_bytes(8, "little")] = (needle.kind, "8-byte integer, little-endian")
    # Ids of one organization share their upper bytes: these are found first, then all compared.
    anchors = {(form[:4], 0) for form in kinds} | {(form[4:], 4) for form in kinds}
    anchors = {a for a in anchors if a[0].strip(b"\0")}
    by_anchor = _fewest(anchors, kinds)
    for path in paths:
        yield from _integers_in(path, by_anchor, kinds)


def _fewest(anchors: set[tuple[bytes, int]], forms: Iterable[bytes]) -> set[tuple[bytes, int]]:
    """A small set of anchors that covers every form: the most shared ones first."""
    left, chosen = set(forms), set[tuple[bytes, int]]()
    while left:
        best = max(anchors, key=lambda a: sum(f[a[1] : a[1] + 4] == a[0] for f in left))
        covered = {f for f in left if f[best[1] : best[1] + 4] == best[0]}
        if not covered:
            raise AssertionError("a form without an anchor")
        left -= covered
        chosen.add(best)
    return chosen


def _integers_in(
    path: Path, anchors: Iterable[tuple[bytes, int]], kinds: dict[bytes, tuple[str, str]]
) -> Iterator[Finding]:
    for data in windows(path):
        for anchor, offset in anchors:
            at = data.find(anchor)
            while at >= 0:
                form = data[max(at - offset, 0) : at - offset + 8]
                if form in kinds:
                    yield Finding(*kinds[form], path)
                at = data.find(anchor, at + 1)


def windows(path: Path) -> Iterator[bytes]:
    """A file in parts that overlap by 7 bytes, so that every 8 lie together in one of them.

    Read, not mapped: the servers are at work on these files, and a page that one of them cuts off
    while it is looked at through a mapping ends the process with SIGBUS, and before Python 3.11.4
    `mmap.find` reads beyond the end of a mapping (CPython gh-105235).
    """
    try:
        with path.open("rb") as file:
            overlap = b""
            while part := file.read(WINDOW):
                yield overlap + part
                overlap = (overlap + part)[-7:]
    except FileNotFoundError:
        return  # removed since it was listed


def main() -> None:
    needles = [Needle("value", line.strip()) for line in sys.stdin if line.strip()]
    findings = search([Path(folder) for folder in sys.argv[1:]], needles)
    for finding in findings:
        print(finding)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
