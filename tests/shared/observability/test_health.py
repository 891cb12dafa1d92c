import asyncio

import aiohttp
import pytest

from shared.observability.health import Health
from shared.observability.metrics import Metrics


@pytest.fixture
async def health():
    async with Health(
        Metrics("billing-worker"), host="127.0.0.1", port=0, check_timeout_s=0.2
    ) as serving:
        serving.started()
        yield serving


async def get(health, path):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{health.port}{path}") as answer,
    ):
        return answer.status, answer.content_type, await answer.text()


async def fine():
    return None


async def broken():
    raise ConnectionError("password=secret")


async def test_a_process_is_alive_whatever_its_checks_return(health):
    health.add("broker", broken)

    assert (await get(health, "/healthz"))[0] == 200


async def test_it_is_not_ready_before_it_has_started():
    async with Health(Metrics("billing-worker"), host="127.0.0.1", port=0) as starting:
        starting.add("database", fine)

        status, _, text = await get(starting, "/readyz")

    assert (status, text) == (503, '{"ready": false, "failing": ["start"]}')


async def test_it_is_ready_when_all_parts_are(health):
    health.add("broker", fine)
    health.add("database", fine)

    status, _, text = await get(health, "/readyz")

    assert (status, text) == (200, '{"ready": true, "failing": []}')


async def test_parts_that_fail_or_hang_are_named_and_nothing_more(health):
    health.add("broker", broken)
    health.add("database", asyncio.Event().wait)
    health.add("tokens", fine)

    status, _, text = await get(health, "/readyz")

    assert status == 503
    assert text == '{"ready": false, "failing": ["broker", "database"]}'


async def test_metrics_are_brought_up_to_date_before_they_are_shown():
    metrics = Metrics("billing-worker")

    async def count():
        metrics.outbox_pending.set(7)

    async with Health(metrics, host="127.0.0.1", port=0) as health:
        health.before_scrape("outbox", count)
        health.before_scrape("broken", broken)

        status, content_type, text = await get(health, "/metrics")

    assert (status, content_type) == (200, "text/plain")
    assert "outbox_pending 7.0" in text
