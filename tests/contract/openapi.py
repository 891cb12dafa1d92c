"""Read Zoho's own OpenAPI files: the operation of a request, its parameters, its schemas."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml
from jsonschema import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from openapi_schema_validator import OAS30Validator, OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.contract import patches
from tests.contract.documented import Documented, Parameter, pattern_of
from tests.contract.operations import ROOT

VARIABLE: Final = "ZOHO_OPENAPI_DIR"
_USUAL_FOLDER: Final = ROOT.parent / "shared" / "zoho" / "oas"
FOLDER: Final = Path(os.environ.get(VARIABLE) or _USUAL_FOLDER)
NOT_THERE: Final = f"Zoho's OpenAPI files are not here: {VARIABLE} names their folder"

_PREFIX_IN_FILE: Final = "/api/v1"  # Desk's files have it in their paths


class OpenApi:
    """A product's files, read and patched when first asked. An operation, when first matched."""

    def __init__(self, *, of_tables: bool = False) -> None:
        """`of_tables`: the schemas of answers hold the answers of a table, which name fields."""
        self._of_tables = of_tables
        self._documents: dict[str, dict[str, dict[str, Any]]] = {}
        self._registry: dict[str, Registry[Any]] = {}
        self._operations: dict[tuple[str, str, str], Documented] = {}

    def operation(self, product: str, method: str, path: str) -> Documented | None:
        """The operation with the fewest parts in braces that this path is. None: not in the files.

        `path` is relative to the product's prefix (`/customers/1`).
        """
        found = [
            (template, file)
            for file, document in self._files(product).items()
            for template, item in document.get("paths", {}).items()
            if method.lower() in item
            and pattern_of(template.removeprefix(_PREFIX_IN_FILE)).fullmatch(path)
        ]
        if not found:
            return None
        template, file = min(found, key=lambda one: one[0].count("{"))
        key = (product, method, template)
        if key not in self._operations:
            self._operations[key] = self._documented(product, file, template, method.lower())
        return self._operations[key]

    def _files(self, product: str) -> dict[str, dict[str, Any]]:
        if product not in self._documents:
            if not (FOLDER / product).exists():
                raise FileNotFoundError(
                    f"{FOLDER} has no OpenAPI files of {product}: put Zoho's there, or write"
                    f" `zoho_file: false` into every entry of tests/contract/table/{product}.yml"
                )
            files = sorted((FOLDER / product).iterdir())
            documents = {file.name: _load(file) for file in files}
            patches.apply(product, documents)
            self._documents[product] = documents
            self._registry[product] = Registry().with_resources(
                (_uri(product, name), DRAFT202012.create_resource(document))
                for name, document in documents.items()
            )
        return self._documents[product]

    def _documented(self, product: str, file: str, path: str, method: str) -> Documented:
        document = self._documents[product][file]
        item = document["paths"][path]
        operation = item[method]
        place = _uri(product, file) + f"#/paths/{_pointer(path)}"
        asked, answered = _kinds(product, document["openapi"], of_tables=self._of_tables)

        def validator(uri: str, kind: type[Validator] = asked) -> Validator:
            built: Validator = kind({"$ref": uri}, registry=self._registry[product])
            return built

        parameters = {}
        for where, owner in ((place, item), (f"{place}/{method}", operation)):
            for index, _ in enumerate(owner.get("parameters", [])):
                uri, parameter = self._resolve(product, f"{where}/parameters/{index}")
                parameters[parameter["in"], parameter["name"]] = Parameter(
                    parameter["name"],
                    parameter["in"],
                    parameter.get("required", False),
                    validator(f"{uri}/schema"),
                )
        request = None
        if "requestBody" in operation:
            request = self._body(product, f"{place}/{method}/requestBody")
        answers = {
            int(status): self._body(product, f"{place}/{method}/responses/{status}")
            for status in operation["responses"]
            if status.startswith("2")
        }
        return Documented(
            product=product,
            method=method.upper(),
            path=path.removeprefix(_PREFIX_IN_FILE),
            parameters=tuple(parameters.values()),
            takes_body="requestBody" in operation,
            request=validator(request) if request else None,
            answers={
                status: validator(uri, answered) if uri else None for status, uri in answers.items()
            },
        )

    def _body(self, product: str, uri: str) -> str | None:
        """Locate the schema of a JSON body, for a request or an answer."""
        uri, owner = self._resolve(product, uri)
        if "schema" not in owner.get("content", {}).get("application/json", {}):
            return None
        return f"{uri}/content/{_pointer('application/json')}/schema"

    def _resolve(self, product: str, uri: str) -> tuple[str, dict[str, Any]]:
        """Follow references. Returns what is at the place, and the place itself."""
        resolver = self._registry[product].resolver()
        while True:
            found = resolver.lookup(uri)
            value: dict[str, Any] = found.contents
            if "$ref" not in value:
                return uri, value
            base, resolver = uri.partition("#")[0], found.resolver
            reference = value["$ref"].removeprefix("./")
            uri = base + reference if reference.startswith("#") else _uri(product, reference)


@cache
def zohos_files() -> OpenApi | None:
    """Zoho's files, read once in a process. None where they are not on this machine."""
    return OpenApi() if FOLDER.exists() else None


@cache
def _kinds(
    product: str, version: str, *, of_tables: bool
) -> tuple[type[Validator], type[Validator]]:
    """The validators of what we send and of what is answered.

    We send no field that the file does not name. The finance files do not say so themselves: they
    close no object. Nor does a table name a field of an answer that the file does not have. It
    need not name all of them.
    """
    kind: Any = OAS30Validator if version.startswith("3.0") else OAS31Validator
    asked = _extended(kind, {"properties": _only_known}) if version.startswith("3.0") else kind
    if of_tables:
        any_of = {"oneOf": kind.VALIDATORS["anyOf"]}
        return asked, _extended(asked, any_of | dict.fromkeys(_NOT_OF_TABLES, _holds))
    _, not_held = patches.NOT_HELD_IN_ANSWERS.get(product, ("", frozenset()))
    return asked, _extended(kind, dict.fromkeys(not_held, _holds))


_NOT_OF_TABLES: Final = ("required", "minProperties", "maxProperties", "enum", "pattern", "format")


def _extended(kind: type[Validator], keywords: dict[str, Any]) -> type[Validator]:
    extended: type[Validator] = extend(kind, keywords)  # type: ignore[no-untyped-call]
    return extended


def _only_known(
    validator: Any, properties: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    yield from OAS30Validator.VALIDATORS["properties"](validator, properties, instance, schema)
    if isinstance(instance, dict):
        for name in sorted(instance.keys() - properties.keys()):
            yield ValidationError(f"{name!r} is not documented", validator="additionalProperties")


def _holds(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    yield from ()


def _load(file: Path) -> dict[str, Any]:
    content = file.read_bytes()
    # PyYAML's parser in C: the one in Python takes half a minute for these files.
    loaded: Any = (
        json.loads(content) if file.suffix == ".json" else yaml.load(content, yaml.CSafeLoader)
    )
    return dict(loaded)


def _uri(product: str, name: str) -> str:
    return f"https://oas.invalid/{product}/{name}"


def _pointer(part: str) -> str:
    return quote(part.replace("~", "~0").replace("/", "~1"), safe="~")
