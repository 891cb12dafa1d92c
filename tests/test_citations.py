"""Test that what is cited is in this repository: sections of docs/zoho, decisions, linked files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from shared.zoho.products.profiles import PROFILES

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("services", "shared", "deploy", "tests", "docs")
KINDS = (".py", ".sql", ".yml", ".md", ".toml")
# The families that known answers cite: `"1.3, 2.4"`, and `"finance 1.3"` where it is another's.
FACTS = {"billing": "finance", "books": "finance", "crm": "crm", "desk": "desk"}


def texts() -> Iterator[tuple[Path, str]]:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*")]
    for file in (*files, *ROOT.glob("*.md"), ROOT / "pyproject.toml"):
        if file.suffix in KINDS and file != Path(__file__):
            yield file, file.read_text()


def sections(family: str) -> set[str]:
    text = (ROOT / "docs" / "zoho" / f"{family}.md").read_text()
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", text, re.MULTILINE))


def test_every_section_that_is_cited_exists() -> None:
    cited = [
        (file, family, section)
        for file, text in texts()
        for family, section in re.findall(r"(finance|crm|desk)\.md §(\d+(?:\.\d+)*)", text)
    ]

    assert cited
    assert [cite for cite in cited if cite[2] not in sections(cite[1])] == []


def test_every_known_answer_cites_a_section_that_exists() -> None:
    cited = [
        (family or FACTS[product], section)
        for product, profile in PROFILES.items()
        for known in profile.known_answers
        for family, section in re.findall(r"(?:(finance|crm|desk) )?(\d+\.\d+)", known.source)
    ]

    assert cited
    assert [cite for cite in cited if cite[1] not in sections(cite[0])] == []


def test_every_file_that_is_linked_or_cited_exists() -> None:
    linked = [
        (file, file.parent / target)
        for file, text in texts()
        if file.suffix == ".md"
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    ]
    cited = [
        (file, ROOT / target)
        for file, text in texts()
        for target in re.findall(r"\bdocs/[\w/-]+\.(?:md|json)\b", text)
        if "NNNN" not in target
    ]

    assert linked
    assert cited
    assert [
        (str(file), str(target)) for file, target in linked + cited if not target.exists()
    ] == []


def test_nothing_outside_the_repository_is_cited() -> None:
    cited = [
        (str(file.relative_to(ROOT)), path)
        for file, text in texts()
        for path in re.findall(r"(?<![\w./\"])\.\./[a-z]+/[a-z./]+", text)
        if not ((file.parent if file.suffix == ".md" else ROOT) / path)
        .resolve()
        .is_relative_to(ROOT)
    ]

    assert cited == []
