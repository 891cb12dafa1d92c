"""Test that `.env.example` names every variable that is read, no other, and real defaults."""

import re
from collections.abc import Iterator
from importlib import import_module

import pytest
from pydantic.fields import FieldInfo

from deploy.local.stack import ROOT
from shared.environment import Environment

DOCUMENTED = re.compile(r"^(?P<off># )?(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$", re.MULTILINE)


def models(above: type[Environment] = Environment) -> Iterator[type[Environment]]:
    for model in above.__subclasses__():
        yield model
        yield from models(model)


@pytest.fixture(scope="module")
def fields() -> dict[str, list[FieldInfo]]:
    """Return what all services and the operator read, by variable."""
    for file in sorted(ROOT.glob("services/*/settings.py")):
        import_module(f"services.{file.parent.name}.settings")
    found: dict[str, list[FieldInfo]] = {}
    for model in models():
        if not model.__module__.startswith("tests."):
            for name, field in model.model_fields.items():
                found.setdefault(name.upper(), []).append(field)
    return found


@pytest.fixture(scope="module")
def lines() -> list[re.Match[str]]:
    return list(DOCUMENTED.finditer((ROOT / ".env.example").read_text()))


def test_every_variable_is_named_once_and_no_other(
    fields: dict[str, list[FieldInfo]], lines: list[re.Match[str]]
) -> None:
    assert sorted(line["name"] for line in lines) == sorted(fields)


def test_what_is_commented_out_shows_the_default(
    fields: dict[str, list[FieldInfo]], lines: list[re.Match[str]]
) -> None:
    shown = {line["name"]: line["value"] for line in lines if line["off"] and line["value"]}
    real = {name: {text(field.default) for field in fields[name]} for name in shown}
    # Without a figure of one's own it is the plan's. What is shown then is the lowest of them.
    by_plan = {name for name in shown if name.startswith("ZOHO_") and real[name] == {"None"}}
    assert {name: {shown[name]} for name in shown if name not in by_plan} == {
        name: real[name] for name in shown if name not in by_plan
    }


def text(default: object) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)
