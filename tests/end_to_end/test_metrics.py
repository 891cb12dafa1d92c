"""Test that every service exposes its metrics in a form that Prometheus' own checker accepts."""

from __future__ import annotations

import subprocess

import pytest

from deploy.local.stack import Stack
from tests.kit.scrape import metrics_text

OF_SENDERS = {"outbox_pending", "outbox_oldest_age_seconds"}
OF_WORKERS = OF_SENDERS | {
    "zoho_api_requests_total",
    "zoho_api_request_duration_seconds",
    "zoho_quota_remaining",
    "zoho_quota_wait_seconds",
    "zoho_breaker_open",
    "messages_settled_total",
    "message_handling_seconds",
    "messages_waiting",
    "messages_oldest_age_seconds",
    "intake_behind",
    "dead_letters",
    "dead_letters_total",
    "sync_lag_seconds",
    "effects_reconciled_total",
    "gaps_found_total",
}
NAMES = {
    "webhook-gateway": OF_SENDERS | {"webhooks_received_total", "webhook_accept_seconds"},
    "billing-worker": OF_WORKERS | {"webhooks_received_total"},
    "crm-worker": OF_WORKERS | {"webhooks_received_total"},
    "desk-worker": OF_WORKERS | {"webhooks_received_total"},
    "token-service": {"zoho_token_mints_total", "zoho_token_expires_in_seconds"},
}


@pytest.mark.parametrize("service", NAMES)
def test_a_service_exposes_its_metrics(stack: Stack, service: str) -> None:
    text = metrics_text(stack, service)

    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    assert NAMES[service] <= families


@pytest.mark.parametrize("service", NAMES)
def test_promtool_accepts_them(stack: Stack, service: str) -> None:
    accepted, said = _promtool(metrics_text(stack, service))

    assert (accepted, said) == (True, "")


def test_promtool_refuses_what_is_wrong() -> None:
    accepted, said = _promtool("# TYPE calls counter\ncalls 3\n")

    assert not accepted
    assert "_total" in said


def _promtool(text: str) -> tuple[bool, str]:
    checked = subprocess.run(
        ["promtool", "check", "metrics"],  # noqa: S607 - Debian's, wherever it is
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    return checked.returncode == 0, checked.stdout + checked.stderr
