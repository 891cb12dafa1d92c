"""Test that each typed method sends what the references say, and that the sandbox answers so."""

from __future__ import annotations

import pytest

from shared.zoho.products.profiles import PROFILES
from tests.contract.calls import CALLS, method_names
from tests.contract.conftest import Clients
from tests.contract.operations import called
from tests.contract.report import Report
from tests.kit.zoho_access import request_of


@pytest.fixture(scope="module")
def sent() -> Report:
    """Keep what the tests of this module have sent."""
    return Report()


@pytest.mark.parametrize("method", method_names())
async def test_a_call_is_as_the_references_say(method: str, clients: Clients, sent: Report) -> None:
    assert method in CALLS, "every method that makes a call is called in tests/contract/calls"

    await CALLS[method](clients)

    report = clients.report()
    sent.sent.update(report.sent)
    assert report.sent
    assert report.holds, _problems(report)


@pytest.mark.parametrize("product", PROFILES)
async def test_a_breakers_probe_is_as_the_references_say(
    product: str, clients: Clients, sent: Report
) -> None:
    operation, path = PROFILES[product].probe

    await clients.http.call(request_of(operation, path))

    report = clients.report()
    sent.sent.update(report.sent)
    assert report.holds, _problems(report)


def test_every_operation_of_the_clients_was_called(
    sent: Report, request: pytest.FixtureRequest
) -> None:
    others = [item for item in request.session.items if item.path == request.path]
    if len(others) < len(CALLS) + len(PROFILES) + 1:
        pytest.skip("only some of the calls were selected")

    assert sent.never_sent() == [], "no call in tests/contract/calls sends these"


def test_every_method_of_the_clients_is_used_by_a_service() -> None:
    unused = sorted(set(method_names()) - called())
    assert unused == [], "call these in a service, or take them out"


def _problems(report: Report) -> str:
    return "\n".join(report.problems())
