"""Read the SQL files of a scope, each with its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent
_FUNCTIONS = "functions"


class SqlFile(NamedTuple):
    """`name` is the path within the scope's folder, with forward slashes."""

    scope: str
    name: str
    checksum: bytes
    sql: str

    @property
    def key(self) -> tuple[str, str]:
        return self.scope, self.name


class SqlFolder(NamedTuple):
    """One folder as it is applied to one schema."""

    name: str
    schema: str
    migrations: list[SqlFile]
    functions: list[SqlFile]


def scopes_of(schema: str, folder: Path | None) -> Iterator[SqlFolder]:
    """The library's scope, the template for a service's schema, and the service's own files."""
    yield _scope("relay", "relay", _HERE / "relay")
    yield _scope(f"{schema}/service", schema, _HERE / "service")
    if folder is not None:
        yield _scope(schema, schema, folder)


def _scope(name: str, schema: str, folder: Path) -> SqlFolder:
    return SqlFolder(
        name,
        schema,
        list(_read(name, schema, folder, "")),
        list(_read(name, schema, folder / _FUNCTIONS, f"{_FUNCTIONS}/")),
    )


def _read(scope: str, schema: str, folder: Path, prefix: str) -> Iterator[SqlFile]:
    for file in sorted(folder.glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        # Line endings depend on the checkout.
        checksum = hashlib.sha256("\n".join(text.splitlines()).encode()).digest()
        yield SqlFile(scope, prefix + file.name, checksum, text.replace("{schema}", schema))
