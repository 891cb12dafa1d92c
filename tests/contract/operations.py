"""Find every operation that our clients declare, and the client methods that nobody uses."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.contract.tables import PRODUCTS, OurOperation

ROOT: Final = Path(__file__).resolve().parents[2]


def declared() -> set[OurOperation]:
    """Every `Operation(product, name, …)` that the code of shared and services holds."""
    return {
        operation
        for folder in ("shared", "services")
        for file in (ROOT / folder).rglob("*.py")
        for operation in _declared_in(file.read_text())
    }


def _declared_in(source: str) -> Iterator[OurOperation]:
    if "Operation(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Name(id="Operation"),
                args=[ast.Constant(value=str(product)), ast.Constant(value=str(name)), *_],
            ):
                yield product, name


def called() -> set[str]:
    """`books.invoice`, … of every client method that the services' own code calls.

    A receiver is named as its product, or `zoho` where a file or a service has one at its heart.
    What a `ledger` does is done by Books, and by Billing's methods where there is no Books.
    """
    return {
        method
        for folder in ("shared/zoho/products", "services")
        for file in (ROOT / folder).rglob("*.py")
        if "zoho_sandbox" not in file.parts
        for method in _called_in(file)
    }


_OF_FOLDER: Final = {
    "billing_worker": "billing",
    "crm_worker": "crm",
    "desk_worker": "desk",
    "operator": "setup",
}


def _called_in(file: Path) -> Iterator[str]:
    source = file.read_text()
    imported = set(re.findall(r"^from shared\.zoho\.products\.(\w+)\.client import", source, re.M))
    folder = next((part for part in file.parts if part in (*_OF_FOLDER, *PRODUCTS)), "")
    own = imported.pop() if len(imported) == 1 else _OF_FOLDER.get(folder, folder)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Attribute(attr=receiver), attr=name):
                pass
            case ast.Attribute(value=ast.Name(id=receiver), attr=name):
                pass
            case _:
                continue
        product = own if receiver in ("zoho", "_zoho", "self") else receiver.lstrip("_")
        product = "books" if product == "ledger" else product
        yield f"{product}.{name}"
