"""Read every event and reply of a run at its end: none holds an id or an address of Zoho's.

Loaded by tests/conftest.py. Every `SystemDriver` of the run records what it receives, in whatever
process it is (the demo's too). The ids are those of all that the sandboxes have answered. Each run
proves that its reader sees: the last test plants one of each, and must find it.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from deploy.driving.recording import VARIABLE, record
from tests.kit.end_of_run import EndOfRun

_folder = pytest.StashKey[Path]()
_PLANTED_ID = "460000000077777777"
_PLANTED_LINK = "https://books.zohosecurepay.example/pay"


class EveryMessage(EndOfRun):
    heading = "in events and replies of this run"

    def problems(self) -> Iterable[str]:
        # Only here: every run of any test loads this module.
        from tests.contract import plugin as exchanges
        from tests.logs import values
        from tests.messages.reading import search

        file = Path(os.environ[VARIABLE])
        recorded = Path(os.environ.get(exchanges.VARIABLE, os.devnull))
        needles = [*values.of_the_sandbox()]
        if recorded.exists():
            with recorded.open("rb") as lines:
                needles += values.recorded(lines)
        ids = {needle.value for needle in needles if needle.kind == "Zoho id"}
        _plant()
        with file.open("rb") as lines:
            count, found = search(lines, {*ids, _PLANTED_ID})
        seen = {str(one) for one in found if one.message.startswith("planted")}
        yield from (str(one) for one in found if not one.message.startswith("planted"))
        yield from (f"a planted one was not found: {one}" for one in _expected() - seen)
        print(f"{count - len(_planted())} events and replies, {len(ids)} ids of Zoho's")


def _planted() -> dict[str, bytes]:
    from services.zoho_sandbox.finance.invoice_pdf import invoice_pdf

    pdf = base64.b64encode(invoice_pdf("INV-1", "Ada", 12.0, "USD", _PLANTED_LINK)).decode()
    bodies = {
        "planted.id": {"reason": f"no card of {_PLANTED_ID}"},
        "planted.link": {"data": [{"url": f"see {_PLANTED_LINK}"}]},
        "planted.pdf": {"ok": True, "result": {"content": pdf}},
    }
    return {name: json.dumps(body).encode() for name, body in bodies.items()}


def _plant() -> None:
    for name, body in _planted().items():
        record("event", name, body)


def _expected() -> set[str]:
    return {
        "an id of Zoho's in planted.id: .reason",
        "an address of Zoho's in planted.link: .data.url",
        "an address of Zoho's in planted.pdf: .result.content (PDF)",
    }


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    if not items or config.option.collectonly:
        return
    if all(item.get_closest_marker("bench") for item in items):
        return
    # Outside the checkout, as the record of the requests: it may hold what must lie nowhere.
    config.stash[_folder] = folder = Path(tempfile.mkdtemp(prefix="zoho-relay-messages-"))
    os.environ[VARIABLE] = str(folder / "messages.jsonl")
    last = EveryMessage.from_parent(
        session, name="no event or reply holds an id or an address of Zoho's"
    )
    last.add_marker(pytest.mark.timeout(600))
    items.append(last)


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_folder, None):
        shutil.rmtree(folder, ignore_errors=True)
        os.environ.pop(VARIABLE, None)
