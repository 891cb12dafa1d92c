"""Test that each typed method sends what Zoho's files say, and that the sandbox answers so."""

from __future__ import annotations

from collections import Counter

import pytest

from shared.zoho.products.profiles import PROFILES
from tests.contract.calls import CALLS, method_names
from tests.contract.conftest import Clients
from tests.contract.openapi import OpenApi
from tests.contract.operations import IN_ZOHOS_FILES, declared
from tests.contract.report import Operation, Report, compare
from tests.kit.zoho_access import request_of


@pytest.fixture(scope="module")
def seen() -> Counter[Operation]:
    """Keep what the tests of this module have sent."""
    return Counter()


@pytest.mark.parametrize("method", method_names())
async def test_a_call_is_as_zoho_documents_it(
    method: str, clients: Clients, openapi: OpenApi, seen: Counter[Operation]
) -> None:
    assert method in CALLS, "every method that makes a call is called in tests/contract/calls"

    await CALLS[method](clients)

    report = compare(clients.sent(), openapi)
    seen.update(report.seen)
    assert report.seen
    assert report.holds, _told(report)


@pytest.mark.parametrize("product", PROFILES)
async def test_a_breakers_probe_is_as_zoho_documents_it(
    product: str, clients: Clients, openapi: OpenApi, seen: Counter[Operation]
) -> None:
    operation, path = PROFILES[product].probe

    await clients.http.call(request_of(operation, path))

    report = compare(clients.sent(), openapi)
    seen.update(report.seen)
    assert report.holds, _told(report)


def test_every_operation_of_the_clients_was_called(
    seen: Counter[Operation], openapi: OpenApi, request: pytest.FixtureRequest
) -> None:
    others = [item for item in request.session.items if item.path == request.path]
    if len(others) < len(CALLS) + len(PROFILES) + 1:
        pytest.skip("only some of the calls were selected")

    assert declared() == set(IN_ZOHOS_FILES)
    assert not Report(seen=seen).never_seen()


def _told(report: Report) -> str:
    return "\n".join(report.problems())
