"""Correct defects of Zoho's files. patches.py lists which, where and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Documents = dict[str, dict[str, Any]]
"""The files of one product by name."""

Change = Callable[[Documents], bool]
"""Returns whether anything was changed."""


def query(operation: str, *names: str) -> Change:
    """The operation takes these query parameters too."""

    def change(documents: Documents) -> bool:
        found = _operation(documents, operation)
        parameters = found.setdefault("parameters", [])
        missing = [name for name in names if name not in {one.get("name") for one in parameters}]
        parameters += [_parameter(name) for name in missing]
        return missing == list(names)

    return change


def undocumented(
    file: str,
    operation: str,
    names: tuple[str, ...],
    answer: dict[str, Any],
    *,
    organization: str | None = None,
) -> Change:
    """An operation that the files lack: its query parameters, the schema of its answer, and where
    the parameter is that names the organization."""

    def change(documents: Documents) -> bool:
        method, path = operation.split(" ", 1)
        item = documents[file]["paths"].setdefault(path, {})
        if method.lower() in item:
            return False
        item[method.lower()] = {
            "parameters": [
                *([{"$ref": organization}] if organization else []),
                *(_parameter(name) for name in names),
            ],
            "responses": {
                "200": {"content": {"application/json": {"schema": answer}}},
                "204": {},
            },
        }
        return True

    return change


def answers(
    operation: str,
    status: int,
    like: int | None = None,
    *,
    schema: Mapping[str, Any] | None = None,
) -> Change:
    """The operation may answer this too: with no body, with what another status has, or so."""
    own = {"content": {"application/json": {"schema": schema}}} if schema else {}

    def change(documents: Documents) -> bool:
        responses = _operation(documents, operation)["responses"]
        if str(status) in responses:
            return False
        responses[str(status)] = own if like is None else responses[str(like)]
        return True

    return change


def required(file: str, schema: str, *names: str, one_of: tuple[str, ...] = ()) -> Change:
    """Only these fields are required, and one of those. `schema`: a place in the file, its parts
    divided by blanks."""

    def change(documents: Documents) -> bool:
        found = _at(documents[file], schema)
        different = set(found.pop("required", ())) != set(names)
        if names:
            found["required"] = list(names)
        if one_of:
            found["anyOf"] = [{"required": [name]} for name in one_of]
        return different

    return change


def optional(file: str, parameter: str) -> Change:
    """The parameter at this place need not be sent."""

    def change(documents: Documents) -> bool:
        found = _at(documents[file], parameter)
        different: bool = found["required"]
        found["required"] = False
        return different

    return change


def field(file: str, schema: str, name: str) -> Change:
    """The object at this place has this field too, of whatever type."""

    def change(documents: Documents) -> bool:
        properties = _at(documents[file], schema)["properties"]
        missing = name not in properties
        properties.setdefault(name, {})
        return missing

    return change


def replaced(file: str, place: str, schema: dict[str, Any]) -> Change:
    """The schema of one field is another."""

    def change(documents: Documents) -> bool:
        *parents, last = place.split(" ")
        owner = _at(documents[file], " ".join(parents))
        different = owner[last] != schema
        owner[last] = schema
        return bool(different)

    return change


def numbers(*names: str) -> Change:
    """Amounts under these names are numbers wherever they are."""

    def change(documents: Documents) -> bool:
        found = [
            one["properties"][name]
            for document in documents.values()
            for one in _objects(document)
            if isinstance(one.get("properties"), dict)
            for name in names
            if name in one["properties"]
        ]
        named = [
            document["components"]["schemas"][name]
            for document in documents.values()
            for name in names
            if name in document["components"]["schemas"]
        ]
        wrong = [one for one in found + named if one.get("type") in ("string", "integer")]
        for one in wrong:
            del one["type"]
            one["anyOf"] = [{"type": "number"}, {"type": "string"}]
        return bool(wrong)

    return change


def organization_in_a_header(documents: Documents) -> bool:
    parameter = documents["Common.json"]["components"]["parameters"]["orgId"]
    different: bool = parameter["in"] != "header"
    parameter["in"] = "header"
    return different


def closed_as_a_whole(documents: Documents) -> bool:
    """`allOf` of closed objects lets nothing through. It is their union that is meant closed."""
    wholes = [
        one for document in documents.values() for one in _objects(document) if "allOf" in one
    ]
    for whole in wholes:
        if whole.pop("additionalProperties", True) is False:
            whole["unevaluatedProperties"] = False
    parts = [
        (name, part)
        for name, document in documents.items()
        for whole in _objects(document)
        for part in whole.get("allOf", ())
    ]
    changed = False
    for name, part in parts:
        target = _target(documents, name, part) if "$ref" in part else part
        for keyword in ("additionalProperties", "unevaluatedProperties"):
            if target is not None and target.get(keyword) is False:
                del target[keyword]
                changed = True
    return changed


def unselected_files(documents: Documents) -> bool:
    """Accept anything for what lies in files that are not here."""
    strangers = [
        one
        for document in documents.values()
        for one in _objects(document)
        if isinstance(reference := one.get("$ref"), str)
        and reference.partition("#")[0].removeprefix("./") not in ("", *documents)
    ]
    for one in strangers:
        one.clear()
    return bool(strangers)


def java_patterns(documents: Documents) -> bool:
    """Java's names of character classes, in Python's."""
    changed = False
    for document in documents.values():
        for one in _objects(document):
            if isinstance(pattern := one.get("pattern"), str):
                one["pattern"] = _in_python(pattern)
                changed |= one["pattern"] != pattern
            if isinstance(patterns := one.get("patternProperties"), dict):
                one["patternProperties"] = {_in_python(key): patterns[key] for key in patterns}
    return changed


def _in_python(pattern: str) -> str:
    for theirs, ours in (
        (r"\P{InBasicLatin}", r"\x80-\U0010ffff"),
        (r"\p{L}", r"\w"),
        (r"\p{M}", ""),
        (r"\p{N}", r"\d"),
        ("(?i)", ""),
    ):
        pattern = pattern.replace(theirs, ours)
    return pattern


def _operation(documents: Documents, operation: str) -> dict[str, Any]:
    method, path = operation.split(" ", 1)
    for document in documents.values():
        if method.lower() in document.get("paths", {}).get(path, {}):
            found: dict[str, Any] = document["paths"][path][method.lower()]
            return found
    raise KeyError(operation)


def _at(document: dict[str, Any], place: str) -> dict[str, Any]:
    found: Any = document
    for part in place.split():
        found = found[int(part)] if isinstance(found, list) else found[part]
    assert isinstance(found, dict)
    return found


def _target(documents: Documents, file: str, part: Mapping[str, Any]) -> dict[str, Any] | None:
    name, _, pointer = part["$ref"].removeprefix("./").partition("#/")
    document = documents.get(name or file)
    return None if document is None else _at(document, pointer.replace("/", " "))


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _objects(one)


def _parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {}}
