"""Test that no request which Zoho would refuse goes unseen, and that exceptions have reasons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.zoho_sandbox.settings import SandboxSettings
from shared.errors import IntegrationError
from shared.zoho.call.operation import Operation
from shared.zoho.call.transport import HttpRequest, RequestTrace, open_transport
from shared.zoho.products.crm.models import ContactToSend
from tests.contract import calls
from tests.contract.conftest import Clients, clients_beside
from tests.contract.exchanges import Exchange
from tests.contract.openapi import zohos_files
from tests.contract.operations import ROOT
from tests.contract.plugin import VARIABLE
from tests.contract.report import Report, compare
from tests.contract.tables import our_tables
from tests.kit.zoho_access import request_of


@pytest.fixture
async def clients(tmp_path: Path) -> AsyncIterator[Clients]:
    """With a record of their own: what is sent wrongly here does not count in the run."""
    async with clients_beside(tmp_path / "exchanges.jsonl") as clients:
        yield clients


async def sent(clients: Clients, product: Any, call: str, **more: Any) -> Report:
    """Return the report about one made-up call, `"POST /customers"`."""
    method, path = call.split(" ", 1)
    operation = Operation(product, "made_up", method)  # type: ignore[arg-type]
    with suppress(IntegrationError):
        await clients.http.call(request_of(operation, path, **more))
    return clients.report()


@pytest.mark.parametrize(
    ("product", "call", "more", "problem"),
    [
        ("billing", "GET /customer/17", {}, "GET /customer/…: not in the tables"),
        ("billing", "PATCH /customers/17", {}, "not in the tables"),
        ("billing", "GET /customers?mail=a", {}, "query mail: not documented"),
        ("billing", "POST /customers", {}, "body: missing"),
        (
            "billing",
            "POST /customers",
            {"json": {"display_name": "Ada"}},
            "body: 'email' is a required property",
        ),
        (
            "billing",
            "POST /customers",
            {"json": {"display_name": "Ada", "email": "a@example.com", "fone": "1"}},
            "('fone' was unexpected)",
        ),
        (
            "billing",
            "POST /subscriptions",
            {"json": {"customer_id": "1", "plan": {"code": "x"}}},
            "body.plan: 'plan_code' is a required property",
        ),
        ("billing", "POST /subscriptions", {"json": {"plan": {"plan_code": "x"}}}, "'customer_id'"),
        (
            "billing",
            "POST /subscriptions/17/cancel",
            {"json": {"now": True}},
            "body: there should be none",
        ),
        ("books", "PUT /invoices", {"json": {}}, "header X-Unique-Identifier-Key: missing"),
        ("books", "GET /invoices?page=two", {}, "query page: not as its schema says"),
        ("crm", "POST /Contacts/upsert", {"json": {"rows": []}}, "'data' is a required property"),
        (
            "crm",
            "POST /Contacts/actions/add_tags",
            {"json": {"tags": ["Active"], "ids": ["1"]}},
            "body.tags[]: is a string, against type",
        ),
        ("desk", "PATCH /tickets/17", {"json": {"priorty": "High"}}, "('priorty' was unexpected)"),
        (
            "desk",
            "POST /tickets/17/comments",
            {"json": {"content": "x" * 32_001, "isPublic": False}},
            "body.content: is a string, against maxLength 32000",
        ),
    ],
)
async def test_a_wrong_request_is_reported(
    clients: Clients, product: str, call: str, more: Any, problem: str
) -> None:
    report = await sent(clients, product, call, **more)

    assert problem in "\n".join(report.problems())
    assert not report.answers


async def test_a_request_without_its_organization_is_reported(clients: Clients) -> None:
    await calls.CALLS["billing.plan"](clients)
    await calls.CALLS["desk.create_ticket"](clients)
    named = {"x-com-zoho-subscriptions-organizationid", "orgid"}
    stripped = [
        replace(one, headers={name: one.headers[name] for name in one.headers.keys() - named})
        for one in clients.sent()
    ]

    problems = "\n".join(compare(stripped, our_tables(), zohos_files()).problems())

    assert "/plans/{plan_code}: header X-com-zoho-subscriptions-organizationid: missing" in problems
    assert "POST /tickets: header orgId: missing" in problems


async def test_a_wrong_answer_of_the_sandbox_is_reported(clients: Clients) -> None:
    await clients.crm.upsert_contacts([ContactToSend("u1", "ada@example.com")])
    (exchange,) = clients.sent()
    row = {"code": "SUCCESS", "status": "success", "message": "record added", "details": {}}
    rows = [row, row | {"status": "fine"}]
    answer = {"type": "application/json", "bytes": 1, "json": {"data": rows}}

    wrong = [replace(exchange, answer=answer), replace(exchange, status=202)]
    problems = list(compare(wrong, our_tables(), zohos_files()).problems())

    assert "sandbox: crm POST /Contacts/upsert: answer: 202 is not documented (1 ×)" in problems
    assert any("answer.data[].status" in problem for problem in problems)
    assert any("answer.data[].details: 'id' is a required" in problem for problem in problems)


async def test_a_report_holds_names_and_no_values(clients: Clients) -> None:
    body = {"display_name": 17_000_000_000_001, "email": ["secret@example.com"], "first_name": {}}
    report = await sent(clients, "billing", "POST /customers", json=body)

    printed = "\n".join(report.lines())

    assert "body.email: is a list, against type string" in printed
    assert "secret@example.com" not in printed
    assert "17000000000001" not in printed


def test_a_run_with_a_wrong_request_fails(tmp_path: Path) -> None:
    line = {
        "product": "billing",
        "method": "GET",
        "path": "/billing/v1/custommers",
        "query": {},
        "headers": {"User-Agent": "zoho-relay/1", "Authorization": "sha256:0"},
        "body": None,
        "status": 404,
        "fault": None,
        "answer": None,
    }
    test = tmp_path / "test_one.py"
    test.write_text(
        "import os, pathlib\n"
        "def test_one():\n"
        f"    pathlib.Path(os.environ['{VARIABLE}']).write_text({json.dumps(line)!r})\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.contract.plugin", "-c", "pytest.ini", test],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert "1 failed, 1 passed" in run.stdout
    assert "client: billing GET /custommers: not in the tables" in run.stdout


def test_a_sandbox_records_nothing_unless_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert SandboxSettings().record is None


def test_what_several_processes_sent_counts_together(tmp_path: Path) -> None:
    for number, (operation, service) in enumerate(
        [(("crm", "get_org"), "crm-worker"), (("crm", "get_org"), ""), (("crm", "list_notes"), "")]
    ):
        one = Report()
        one.sent[operation, service] = 1
        one.save(tmp_path / f"{number}.json")

    report = Report()
    for file in tmp_path.iterdir():
        report.load(file)

    assert report.covered() == [("crm", "get_org")]
    assert report.sent_by_tests_alone() == [("crm", "list_notes")]
    assert ("crm", "get_org") not in report.never_sent()
    assert ("billing", "get_plan") in report.never_sent()


@pytest.mark.parametrize("service", ["billing-worker", ""])
async def test_a_request_shows_which_service_sent_it(service: str) -> None:
    agents: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        agents.append(request.headers["User-Agent"])
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server, open_transport(service) as transport:
        url = str(server.make_url("/"))
        request = HttpRequest("GET", url, {}, None, {}, timeout_s=5.0, fresh=True)
        await transport.send(request, RequestTrace(time.monotonic() + 5))

    line = {"product": "crm", "method": "GET", "path": "/", "query": {}, "body": None}
    line |= {"headers": {"User-Agent": agents[0]}, "status": 200, "fault": None, "answer": None}
    exchange = Exchange.of(line)
    assert (exchange.is_ours, exchange.service) == (True, service)
