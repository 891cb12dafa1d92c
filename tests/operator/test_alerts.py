"""Test that alerts fire on metrics that exist, and that each is explained to operators."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from shared.observability.metrics import Metrics

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]

# Two scrapes without the series, then it begins at 1: no increase, and yet a dead letter.
FIRST_DEAD_LETTER = """
rule_files: [{alerts}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: dead_letters_total{{service="s", code="outcome_unknown", org="default"}}
        values: "_ _ 1 1 1"
      - series: zoho_breaker_open{{org="default", product="accounts", cause="refresh_token_dead"}}
        values: "0 1 1 1 1"
      - series: zoho_breaker_open{{org="default", product="billing", cause="minute"}}
        values: "1 1 1 1 1"
      - series: messages_waiting{{service="s", org="default", reason="person"}}
        values: "2x20"
      - series: messages_waiting{{service="s", org="default", reason="time"}}
        values: "5x20"
    alert_rule_test:
      - eval_time: 16m
        alertname: MessagesWaitForAPerson
        exp_alerts:
          - exp_labels: {{severity: page, service: s, org: default}}
            exp_annotations:
              summary: >-
                2 messages of s wait until somebody corrects the set-up or puts a key back
                (unknown_key)
      - eval_time: 3m
        alertname: OutcomeUnknown
        exp_alerts:
          - exp_labels: {{severity: page, service: s, org: default}}
            exp_annotations: {{summary: "nobody knows whether money moved: look in Zoho"}}
      - eval_time: 3m
        alertname: ZohoMisconfigured
        exp_alerts:
          - exp_labels:
              {{severity: page, org: default, product: accounts, cause: refresh_token_dead}}
            exp_annotations:
              summary: "accounts cannot be used until somebody fixes it: refresh_token_dead"
"""

# Longer than the half hour that a pause may last.
PAUSES = """
rule_files: [{alerts}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: product_paused{{org="default", service="s", product="books", cause="minute"}}
        values: "1x40"
      - series: product_paused{{org="default", service="s", product="crm", cause="disabled_user"}}
        values: "1x40"
      - series: product_paused{{org="default", service="s", product="crm", cause="none"}}
        values: "0x40"
      - series: >-
          product_closed_until_seconds{{org="default", service="s", product="books",
          priority="backfill", cause="day"}}
        values: "1x40"
      - series: >-
          product_closed_until_seconds{{org="default", service="s", product="desk",
          priority="payments", cause="day"}}
        values: "1x40"
    alert_rule_test:
      - eval_time: 35m
        alertname: ProductPaused
        exp_alerts:
          - exp_labels:
              {{severity: ticket, org: default, service: s, product: crm, cause: disabled_user}}
            exp_annotations:
              summary: "s has made no call to crm for 30 minutes: disabled_user"
      - eval_time: 35m
        alertname: DayQuotaUsedUp
        exp_alerts:
          - exp_labels: {{severity: page, org: default, product: desk}}
            exp_annotations: {{summary: "desk takes no more calls today"}}
"""


def promtool(*arguments: str) -> None:
    subprocess.run(["promtool", *arguments], check=True, capture_output=True)  # noqa: S607


def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    promtool("check", "rules", str(FOLDER / "alerts.yml"))
    promtool("check", "config", str(FOLDER / "prometheus.yml"))


def test_the_first_of_a_kind_is_seen_and_everyday_limits_are_not(tmp_path: Path) -> None:
    file = tmp_path / "tests.yml"
    file.write_text(FIRST_DEAD_LETTER.format(alerts=FOLDER / "alerts.yml"))
    promtool("test", "rules", str(file))


def test_a_pause_is_told_from_a_backlog_that_waits_for_quota(tmp_path: Path) -> None:
    file = tmp_path / "tests.yml"
    file.write_text(PAUSES.format(alerts=FOLDER / "alerts.yml"))
    promtool("test", "rules", str(file))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_uses_metrics_that_we_have_and_is_explained(rule: dict[str, str]) -> None:
    names = set(
        re.findall(
            r"\b(?:zoho|token|log|outbox|messages|intake|product|sync|webhooks|gaps|dead|contacts"
            r"|crm|recovery|erasure)_\w+",
            re.sub(r'"[^"]*"', "", rule["expr"]),
        )
    )
    ours = Metrics("any").render().decode()
    assert names or rule["expr"].startswith("up")
    assert not [name for name in names if f"# TYPE {name} " not in ours]
    assert f"| `{rule['alert']}` |" in (ROOT / "docs" / "operations.md").read_text()
