"""Test the comparison with Zoho's own files. Not collected where they are not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract import mending, patches
from tests.contract.openapi import OpenApi
from tests.contract.operations import ROOT
from tests.contract.tables import Tables
from tests.contract.zohos_check import differences


@pytest.mark.parametrize(
    ("noted", "difference"),
    [
        ({"request": "GET /customer"}, "not in Zoho's files"),
        ({"request": "GET /customers", "query": {"mail": "string"}, 200: {}}, "query mail"),
        (
            {"request": "POST /customers", "body": {"display_name*": "string"}, 201: {}},
            "'email' is a required property",
        ),
        (
            {
                "request": "POST /customers",
                "body": {"display_name*": "string", "email*": "email", "fone": "string"},
                201: {},
            },
            "body: 'fone'",
        ),
        (
            {"request": "GET /plans/{plan_code}", 200: {"plan*": {"trial_period": "string"}}},
            "answer.plan.trial_period: is a string, against type integer",
        ),
        (
            {"request": "GET /plans/{plan_code}", 200: {"plan*": {"price_of_all": "money"}}},
            "answer.plan: 'price_of_all'",
        ),
        ({"request": "GET /plans/{plan_code}", 202: {}}, "answer: 202 is not documented"),
    ],
)
def test_a_wrong_entry_is_found(noted: dict[Any, Any], difference: str) -> None:
    organization = {"header": "X-com-zoho-subscriptions-organizationid"}
    content = {"organization": organization, "shapes": {}, "operations": {"made_up": noted}}
    (entry,) = Tables({"billing": content}).entries

    found = list(differences(entry, OpenApi(of_tables=True)))

    assert len(found) == 1
    assert difference in found[0]


def test_every_patch_is_explained_in_the_facts_of_zoho() -> None:
    facts = "\n".join(file.read_text() for file in (ROOT / "docs" / "zoho").glob("*.md"))
    words = " ".join(facts.split())
    marks = {patch.marked for patch in patches.PATCHES} | {
        marked for marked, _ in patches.NOT_HELD_IN_ANSWERS.values()
    }

    assert not [marked for marked in marks if marked not in words]


def test_a_patch_that_changes_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    needless = patches.Patch("billing", "", mending.query("GET /plans", "page"))
    monkeypatch.setattr(patches, "PATCHES", (needless, needless))
    documents: mending.Documents = {"plans.yml": {"paths": {"/plans": {"get": {}}}}}

    with pytest.raises(patches.Needless):
        patches.apply("billing", documents)
