"""The documents beside the code match the code."""

import ast
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from shared.contracts.asyncapi import document, files, schemas
from shared.contracts.commands import COMMANDS
from shared.contracts.events import EVENTS
from shared.contracts.replies import RESULTS, ReplyResult

ROOT = Path(__file__).parents[3]
FILES = files()
SCHEMAS = schemas()
CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
WRITE = "run `.venv/bin/python -m shared.contracts.asyncapi`"


@pytest.mark.parametrize("name", FILES)
def test_the_published_contracts_are_current(name):
    path = ROOT / "docs" / name

    assert path.is_file(), WRITE
    assert path.read_text() == FILES[name], WRITE


def test_no_schema_is_left_of_a_message_that_is_gone():
    published = {f"schemas/{path.name}" for path in (ROOT / "docs/schemas").glob("*.json")}

    assert published <= set(FILES), WRITE


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_a_schema(name):
    Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_kind_of_reply_is_published():
    def kinds(model):
        kept = [kind for part in model.__subclasses__() for kind in kinds(part)]
        return kept or [model]

    published = {model for models in RESULTS.values() for model in models}
    unpublished = {model.__name__ for model in kinds(ReplyResult)} - {m.__name__ for m in published}

    assert not unpublished, "name it in RESULTS (shared/contracts/replies.py), beside its command"


def test_an_event_has_a_version_on_the_wire_when_it_carries_a_state_and_only_then():
    for key, event in EVENTS.items():
        schema = SCHEMAS[key]
        assert ("version" in schema["required"]) is event.carries_state, key
        assert ("version" in schema["properties"]) is event.carries_state, key
    assert "tier_version" in SCHEMAS["subscription.changed.v1"]["required"]


def test_every_reference_of_the_document_leads_somewhere():
    def references(value):
        if isinstance(value, dict):
            yield from ([value["$ref"]] if "$ref" in value else [])
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from references(item)

    whole = document()
    for reference in references(whole):
        if reference.startswith("./"):
            assert reference.removeprefix("./") in FILES
            continue
        found = whole
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def codes_used(path):
    """Every constant that is given as a `code`: class attributes, keywords, keys of dicts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield node.value
        elif isinstance(node, ast.ClassDef):
            for line in node.body:
                target = getattr(line, "target", None) or next(
                    iter(getattr(line, "targets", [])), None
                )
                if isinstance(target, ast.Name) and target.id == "code":
                    yield from [line.value] if line.value else []
        elif isinstance(node, ast.Dict):
            yield from (
                value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value == "code"
            )


def test_every_error_code_is_explained():
    explained = set(re.findall(r"^\| `([a-z0-9_]+)`", (ROOT / "docs/errors.md").read_text(), re.M))
    sources = [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]

    used = {
        (constant.value, str(path.relative_to(ROOT)))
        for path in sources
        if "zoho_sandbox" not in path.parts  # its codes are Zoho's
        for node in codes_used(path)
        for constant in ([node.body, node.orelse] if isinstance(node, ast.IfExp) else [node])
        if isinstance(constant, ast.Constant)
        and isinstance(constant.value, str)
        and CODE.fullmatch(constant.value)
    }

    assert {code for code, _ in used} >= {"invalid_message", "unknown_command"}
    unexplained = {one for one in used if one[0] not in explained}
    assert not unexplained, "a code needs a line in docs/errors.md: what it means, who does what"


def test_every_command_says_which_calls_to_zoho_it_makes():
    operations = {
        match[1]
        for path in (ROOT / "shared/zoho/products").rglob("*.py")
        for match in re.finditer(r'Operation\(\s*"\w+", "(\w+)"', path.read_text())
    }

    for key in COMMANDS:
        calls = document()["operations"][f"receive {key}"].get("x-zoho-calls")
        assert calls, f"{key} has no entry in shared/contracts/zoho_calls.py"
        named = {name for names in calls.values() for name in names}
        assert named <= operations, f"{key}: no Operation has the name {named - operations}"
