"""Read the SQL files of a folder, each with its checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HERE = Path(__file__).parent
_FUNCTIONS = "functions"


class SqlFile(NamedTuple):
    """Hold one file. `name` is its path in the folder, with forward slashes.

    `scope` is the folder's name in `relay.migrations`: `relay`, `billing/service`, `billing`.
    """

    scope: str
    name: str
    checksum: bytes
    sql: str

    @property
    def key(self) -> tuple[str, str]:
        return self.scope, self.name


class SqlFolder(NamedTuple):
    """Hold one folder's files as they are applied to one schema. `name` is the files' `scope`."""

    name: str
    schema: str
    migrations: list[SqlFile]
    functions: list[SqlFile]


def folders_of(schema: str, folder: Path | None) -> Iterator[SqlFolder]:
    """Yield `relay/`, the template for a service's schema, and the service's own folder."""
    yield _folder("relay", "relay", _HERE / "relay")
    yield _folder(f"{schema}/service", schema, _HERE / "service")
    if folder is not None:
        yield _folder(schema, schema, folder)


def _folder(name: str, schema: str, path: Path) -> SqlFolder:
    return SqlFolder(
        name,
        schema,
        list(_read(name, schema, path, "")),
        list(_read(name, schema, path / _FUNCTIONS, f"{_FUNCTIONS}/")),
    )


def _read(scope: str, schema: str, folder: Path, prefix: str) -> Iterator[SqlFile]:
    for file in sorted(folder.glob("*.sql")):
        text = file.read_text(encoding="utf-8")
        # Line endings depend on the checkout.
        checksum = hashlib.sha256("\n".join(text.splitlines()).encode()).digest()
        yield SqlFile(scope, prefix + file.name, checksum, text.replace("{schema}", schema))
