"""The lookup of Billing's invoices in Books ends, whatever becomes of the invoice."""

from typing import Any

import asyncpg
import pytest

from services.billing_worker.repositories.invoices import Invoices
from services.zoho_sandbox.server.world import World
from tests.billing_worker.conftest import Upstream, until
from tests.billing_worker.scenarios import a_subscription

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def an_invoice_without_its_copy(upstream: Upstream) -> dict[str, Any]:
    """An invoice of Billing's that Books does not get."""
    await upstream.sandbox.set_lag(integration=3600)
    await a_subscription(upstream)
    (invoice,) = await upstream.records("billing", "invoices")
    return invoice


async def outcome_of_lookup(database_url: str) -> str | None:
    connection = await asyncpg.connect(database_url)
    try:
        outcome: str | None = await connection.fetchval(
            "SELECT lookup_ended FROM billing.invoices WHERE announced_at IS NULL"
        )
        return outcome
    finally:
        await connection.close()


async def lag_s(database_url: str) -> float:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=1) as pool:
        doubles: Any = (pool, None, None)
        return await Invoices(*doubles).lag_s("default")


@pytest.mark.parametrize("outcome", ["void", "deleted"])
async def test_the_lookup_of_an_invoice_that_is_gone_from_billing_ends(
    upstream: Upstream, world: World, own_database_url: str, outcome: str
) -> None:
    invoice = await an_invoice_without_its_copy(upstream)
    assert await lag_s(own_database_url) > 0

    if outcome == "void":
        await upstream.sandbox.load({"billing": {"invoices": [{**invoice, "status": "void"}]}})
    else:
        world.table("billing", "invoices").remove(invoice["invoice_id"])

    await until(lambda: outcome_of_lookup(own_database_url), outcome)
    await until(lambda: lag_s(own_database_url), 0)  # a late hint of it is looked into once more


@pytest.mark.parametrize("outcome", ["draft", "absent"])
async def test_the_lookup_of_an_invoice_that_does_not_turn_up_ends_after_a_month(
    upstream: Upstream, own_database_url: str, outcome: str
) -> None:
    invoice = await an_invoice_without_its_copy(upstream)
    if outcome == "draft":
        await upstream.sandbox.load({"billing": {"invoices": [{**invoice, "status": "draft"}]}})

    connection = await asyncpg.connect(own_database_url)
    await connection.execute(
        "UPDATE billing.invoices SET wanted_at = wanted_at - interval '31 days', look_at = now()"
    )
    await connection.close()

    await until(lambda: outcome_of_lookup(own_database_url), outcome)
    await until(lambda: lag_s(own_database_url), 0)  # a late hint of it is looked into once more
