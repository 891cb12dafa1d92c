import re
import subprocess
from pathlib import Path

import pytest

from shared.observability.metrics import Metrics
from shared.version import VERSION

# Public names and labels. `org` stands beside them where an organization is concerned.
PUBLIC = {
    "zoho_api_requests_total": {"org", "product", "operation", "outcome"},
    "zoho_api_request_duration_seconds": set(),
    "zoho_quota_remaining": {"org", "product", "window"},
    "zoho_quota_wait_seconds": {"lane"},
    "zoho_breaker_open": {"org", "product", "cause"},
    "zoho_token_mints_total": {"outcome"},
    "zoho_token_expires_in_seconds": set(),
    "messages_settled_total": {"service", "routing_key", "settlement"},
    "message_handling_seconds": set(),
    "outbox_pending": set(),
    "outbox_oldest_age_seconds": set(),
    "messages_waiting": {"service", "reason"},
    "messages_oldest_age_seconds": {"service", "reason"},
    "messages_accepted_total": {"service", "result"},
    "intake_behind": {"queue"},
    "intake_stopped": {"service"},
    "headers_dropped_total": {"queue"},
    "dead_letters": {"service", "code"},
    "dead_letters_total": {"service", "code"},
    "product_paused": {"service", "product", "cause"},
    "product_closed_until_seconds": {"service", "product", "priority", "cause"},
    "webhooks_received_total": {"product", "outcome"},
    "webhook_accept_seconds": set(),
    "sync_lag_seconds": {"service"},
    "effects_reconciled_total": {"operation", "found"},
    "report_differences_total": set(),
    "gaps_found_total": {"product"},
    "erasures_open": set(),
    "erasure_oldest_age_seconds": set(),
    "tickets_unreadable_total": set(),
    "contacts_compared_age_seconds": set(),
    "crm_channel_expires_in_seconds": set(),
    "recovery_needed": {"service"},
    "log_lines_lost_total": set(),
}
OF_A_PROCESS = {
    "log_lines_lost_total",
    "outbox_pending",
    "outbox_oldest_age_seconds",
    "messages_accepted_total",
    "intake_behind",
    "intake_stopped",
    "headers_dropped_total",
    "recovery_needed",
}


@pytest.fixture
def metrics():
    """Every collector with one sample."""
    made = Metrics("billing-worker")
    for collector in vars(made).values():
        names = getattr(collector, "_labelnames", None)
        if names is None:
            continue
        child = collector.labels(*["x"] * len(names)) if names else collector
        for use in ("inc", "observe"):
            if hasattr(child, use):
                getattr(child, use)(*([1.0] if use == "observe" else []))
                break
    return made


def labels_of(text, name):
    sample = re.search(rf"^{name}(?:_bucket|_count)?(?:\{{(.*?)\}})? ", text, re.MULTILINE)
    assert sample, f"{name} has no sample"
    return set(re.findall(r'(\w+)="', sample.group(1) or "")) - {"le"}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_metric_has_its_public_name_and_labels(metrics, name):
    labels = labels_of(metrics.render().decode(), name)

    assert labels >= PUBLIC[name]
    assert ("org" in labels) == (name not in OF_A_PROCESS)


def test_the_exposition_passes_promtool(metrics):
    promtool = Path("/usr/bin/promtool")
    assert promtool.exists(), "promtool is missing: install the package prometheus"

    checked = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.render(), capture_output=True, check=False
    )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_two_processes_in_one_interpreter_do_not_share_counts():
    ours, theirs = Metrics("billing-worker"), Metrics("crm-worker")

    ours.gaps_found.labels(product="desk", org="default").inc()

    assert b'gaps_found_total{org="default",product="desk"} 1.0' in ours.render()
    assert b"gaps_found_total{" not in theirs.render()


def test_the_service_is_named_and_no_created_series_are_shown(metrics):
    text = metrics.render().decode()

    assert f'zoho_relay_info{{service="billing-worker",version="{VERSION}"}} 1.0' in text
    assert "_created" not in text
