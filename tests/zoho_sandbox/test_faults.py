"""Test the faults that a driver orders, and the moment at which each takes effect."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from services.zoho_sandbox.driver import SandboxDriver, SandboxRefused
from tests.kit.sandbox_client import Zoho

ADA = {"display_name": "Ada", "email": "ada@example.com"}


async def create(zoho: Zoho) -> tuple[int, object]:
    answer = await zoho.ask("POST", "/billing/v1/customers", json=ADA)
    return answer.status, answer.body


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("status:400", 400, 2),
        ("status:401", 401, 57),
        ("status:404", 404, 1002),
        ("status:429", 429, 44),
        ("status:500", 500, 1000),
        ("status:503", 503, 1000),
        ("minute_limit", 429, 44),
        ("day_limit", 429, 45),
        ("concurrency", 429, 1070),
        ("invalid_token", 401, 14),
        ("scope_mismatch", 401, 57),
        ("wrong_organization", 401, 57),
        ("user_disabled", 200, 6018),
        ("ok_with_error", 200, 1000),
    ],
)
async def test_a_refusal_is_zohos_own_and_nothing_is_done(
    zoho: Zoho, sandbox: SandboxDriver, kind: str, status: int, code: int
) -> None:
    await sandbox.fault("billing", kind, operation="create_customer", times=1)

    refused = await zoho.ask("POST", "/billing/v1/customers", json=ADA)

    assert (refused.status, refused.body["code"]) == (status, code)
    assert await sandbox.records("billing", "customers") == []
    assert (await create(zoho))[0] == 201


@pytest.mark.parametrize(("kind", "made"), [("html", 0), ("html_after", 1)])
async def test_a_web_page_may_come_instead_of_json(
    zoho: Zoho, sandbox: SandboxDriver, kind: str, made: int
) -> None:
    await sandbox.fault("billing", kind, times=1)

    answer = await zoho.ask("POST", "/billing/v1/customers", json=ADA)

    assert (answer.status, answer.body[:15]) == (200, b"<!DOCTYPE html>")
    assert len(await sandbox.records("billing", "customers")) == made


@pytest.mark.parametrize(("kind", "made"), [("reset_before", 0), ("reset_after", 1)])
async def test_a_reset_loses_the_answer(
    zoho: Zoho, sandbox: SandboxDriver, kind: str, made: int
) -> None:
    await sandbox.fault("billing", kind, operation="POST /customers", times=1)

    with pytest.raises(aiohttp.ClientError):
        await create(zoho)

    assert len(await sandbox.records("billing", "customers")) == made
    [request] = await sandbox.requests(operation="create_customer")
    assert (request["status"], request["done"], request["fault"]) == (0, bool(made), kind)


@pytest.mark.parametrize(
    ("kind", "held", "made_meanwhile", "made"),
    [("hold", "before", 0, 1), ("hold_after", "after", 1, 1), ("hold_reset", "before", 0, 0)],
)
async def test_a_held_request_is_reported_and_goes_on_when_released(
    zoho: Zoho, sandbox: SandboxDriver, kind: str, held: str, made_meanwhile: int, made: int
) -> None:
    await sandbox.fault("billing", kind, operation="create_customer", times=1)
    asking = asyncio.create_task(create(zoho))

    request = await sandbox.wait_until_held("billing", "create_customer")
    state = await sandbox.state()

    assert (request["held"], request["status"]) == (held, None)
    assert state["held"] == [request["id"]]
    assert len(state["billing"]["customers"]) == made_meanwhile
    await sandbox.clear_faults()
    await asyncio.gather(asking, return_exceptions=True)
    assert len(await sandbox.records("billing", "customers")) == made
    assert (await sandbox.state())["held"] == []


async def test_a_held_request_is_handled_even_when_its_client_has_died(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    await sandbox.fault("billing", "hold", operation="create_customer", times=1)
    asking = asyncio.create_task(create(zoho))
    await sandbox.wait_until_held("billing")
    asking.cancel()

    await sandbox.clear_faults()

    await sandbox.wait_for_record("billing", "customers", email="ada@example.com")


async def test_a_timeout_ends_by_itself_with_the_work_done(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    await sandbox.fault("billing", "timeout_after", times=1, delay_s=0.05)

    with pytest.raises(aiohttp.ClientError):
        await create(zoho)

    assert len(await sandbox.records("billing", "customers")) == 1


async def test_a_fault_concerns_its_product_and_operation_and_so_many_requests(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    await sandbox.fault("books", "status:500")
    await sandbox.fault("billing", "status:500", operation="GET /plans/free", times=2)

    async def status(path: str) -> int:
        return (await zoho.ask("GET", f"/billing/v1{path}")).status

    assert await status("/plans") == 200
    assert [await status("/plans/free") for _ in range(3)] == [500, 500, 200]
    await sandbox.clear_faults()
    assert (await zoho.ask("GET", "/books/v3/invoices")).status == 200


async def test_the_accounts_server_fails_in_its_own_words(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    await sandbox.fault("accounts", "minute_limit", times=1)
    await sandbox.fault("accounts", "invalid_token", times=1)

    denied, dead = await zoho.mint(), await zoho.mint()

    assert (denied.status, denied.body["error"]) == (400, "Access Denied")
    assert (dead.status, dead.body["error"]) == (200, "invalid_code")


@pytest.mark.parametrize("order", [{"kind": "earthquake", "product": "billing"}, {"kind": "hold"}])
async def test_an_unknown_order_is_refused(sandbox: SandboxDriver, order: dict[str, str]) -> None:
    with pytest.raises(SandboxRefused, match="400"):
        await sandbox.post("faults", **order)


async def test_the_log_line_names_the_operation_and_no_customer(
    zoho: Zoho, log_lines: list[str]
) -> None:
    customer = await zoho.new_customer()
    await zoho.billing(f"/customers/{customer['customer_id']}?email=ada@example.com")

    printed = "".join(log_lines)

    assert '"operation": "create_customer"' in printed
    secrets = (customer["customer_id"], "ada", "Ada", zoho.token, "/customers")
    assert not [secret for secret in secrets if secret in printed]


async def test_the_request_log_hides_the_token_and_nothing_else(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    await zoho.new_customer()

    [seen] = await sandbox.requests(product="billing")

    assert seen["headers"]["Authorization"].startswith("sha256:")
    assert seen["body"]["email"] == "ada@example.com"
    assert (seen["method"], seen["path"]) == ("POST", "/billing/v1/customers")
    assert await sandbox.requests(since=seen["id"]) == []
    assert await sandbox.requests(since=seen["time"], product="billing") == [seen]
