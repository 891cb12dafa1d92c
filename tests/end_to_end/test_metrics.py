"""Every service exposes what the design names, in a form that Prometheus' own checker accepts."""

from __future__ import annotations

import subprocess
import urllib.request

import pytest

from deploy.local.plan import SERVICES
from deploy.local.stack import Stack

OF_WORKERS = {
    "zoho_api_requests_total",
    "zoho_api_request_duration_seconds",
    "zoho_quota_remaining",
    "zoho_quota_wait_seconds",
    "zoho_breaker_open",
    "messages_settled_total",
    "message_handling_seconds",
    "outbox_pending",
    "outbox_oldest_age_seconds",
    "retry_backlog",
    "dead_letters_total",
    "consumer_paused",
    "sync_lag_seconds",
    "effects_reconciled_total",
    "gaps_found_total",
}
NAMES = {
    "webhook-gateway": {
        "webhooks_received_total",
        "webhook_accept_seconds",
        "outbox_pending",
        "outbox_oldest_age_seconds",
    },
    "billing-worker": OF_WORKERS,
    "crm-worker": OF_WORKERS,
    "desk-worker": OF_WORKERS,
    "token-service": {"zoho_token_mints_total", "zoho_token_expires_in_seconds"},
}


@pytest.mark.parametrize("service", NAMES)
def test_a_service_exposes_its_metrics(stack: Stack, service: str) -> None:
    text = _scrape(stack, service)

    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert NAMES[service] <= families


@pytest.mark.parametrize("service", NAMES)
def test_promtool_accepts_them(stack: Stack, service: str) -> None:
    text = _scrape(stack, service)

    checked = subprocess.run(
        ["promtool", "check", "metrics"],  # noqa: S607 - Debian's, wherever it is
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def _scrape(stack: Stack, service: str) -> str:
    # METRICS_URLS are in the order of the services that the stack was asked for.
    url = stack.env["METRICS_URLS"].split(",")[list(SERVICES).index(service)]
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())
