"""Test that the tables of Zoho's operations are whole, and as Zoho's own files say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.openapi import FOLDER, NOT_THERE, OpenApi
from tests.contract.operations import ROOT, declared
from tests.contract.tables import our_tables
from tests.contract.zohos_check import differences


def test_the_tables_are_as_zohos_own_files_say() -> None:
    if not FOLDER.exists():
        pytest.skip(NOT_THERE)
    zoho = OpenApi(of_tables=True)

    assert not [
        f"{entry.product} {entry.name}: {difference}"
        for entry in our_tables().entries
        if entry.in_zohos_file
        for difference in differences(entry, zoho)
    ]


def test_the_tables_have_every_operation_of_our_clients_and_no_other() -> None:
    tabled = our_tables().operations
    assert sorted(declared() - tabled) == [], "add these to tests/contract/table"
    assert sorted(tabled - declared()) == [], "no client declares these: take them out of the table"


def test_every_entry_names_pages_of_zohos_or_sections_that_exist() -> None:
    for entry in our_tables().entries:
        assert entry.source, entry.name
        for source in entry.source.split(", "):
            assert source.startswith("https://") or _section_exists(source), source


def _section_exists(source: str) -> bool:
    file, _, section = source.partition(" §")
    headings = re.findall(r"^#+ ([\d.]+?)\.? ", Path(ROOT / file).read_text(), re.MULTILINE)
    return section in headings
