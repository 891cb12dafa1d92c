"""Define every metric of the project. The collectors are passed in and never global.

A metric has the label `org` wherever an organization is concerned. A queue and an outbox belong to
a service, so their gauges have none. Labels never hold ids of users or messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.observability.log_stream import LostLines
from shared.version import VERSION

_CALL_S: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40)
_HANDLING_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WAIT_S: Final = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300)
_ACCEPT_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class _LostLogLines(Collector):
    """Reads the count when it is asked for: lines are lost before there are metrics too."""

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily(
            "log_lines_lost", "Log lines that could not be written.", value=LostLines.count
        )


class Metrics:
    """The collectors of one process. `metrics.outbox_pending.set(3)`."""

    def __init__(self, service: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that nobody asks for
        self.service = service
        self.registry = CollectorRegistry()
        self._named_like_a_counter = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_LostLogLines())
        self._info = self._new(Info, "zoho_relay", "The service and its version.")
        self.set_info(service=service, version=VERSION)
        self._zoho()
        self._messages()
        self._webhooks_and_state()

    def set_info(self, **values: str) -> None:
        """Set the labels of `zoho_relay_info`."""
        self._info.info(values)

    def render(self) -> bytes:
        """The text format 0.0.4."""
        return generate_latest(self.registry) + generate_latest(self._named_like_a_counter)

    def _zoho(self) -> None:
        call = ("org", "product", "operation")
        self.zoho_api_requests = self._counter(
            "zoho_api_requests_total", "Calls to Zoho by what came of them.", *call, "outcome"
        )
        self.zoho_api_request_duration = self._histogram(
            "zoho_api_request_duration_seconds", "Time a call to Zoho took.", _CALL_S, *call
        )
        self.zoho_quota_remaining = self._gauge(
            "zoho_quota_remaining", "Calls or credits left.", "org", "product", "window"
        )
        self.zoho_quota_exhausted_in = self._gauge(
            "zoho_quota_exhausted_in_seconds",
            "Time until the day's credits are gone at the present pace; +Inf: the reset is sooner.",
            *("org", "product"),
        )
        self.zoho_quota_wait = self._histogram(
            "zoho_quota_wait_seconds", "Time spent waiting for a permit.", _WAIT_S, "lane", "org"
        )
        self.zoho_breaker_open = self._gauge(
            "zoho_breaker_open", "1 while calls are held back.", "org", "product", "cause"
        )
        self.zoho_token_mints = self._counter(
            "zoho_token_mints_total", "Access tokens asked of Zoho.", "outcome", "org"
        )
        self.zoho_token_expires_in = self._gauge(
            "zoho_token_expires_in_seconds", "Life left in the access token.", "org"
        )

    def _messages(self) -> None:
        self.messages_settled = self._counter(
            "messages_settled_total",
            "Attempts at messages by what became of them.",
            *("org", "service", "routing_key", "settlement"),
        )
        self.message_handling = self._histogram(
            "message_handling_seconds",
            "Time an attempt took.",
            _HANDLING_S,
            *("org", "service", "routing_key"),
        )
        waiting = ("org", "service", "reason")
        self.messages_waiting = self._gauge(
            "messages_waiting", "Open messages, by what they wait for.", *waiting
        )
        self.messages_oldest_age = self._gauge(
            "messages_oldest_age_seconds", "Age of the oldest open message.", *waiting
        )
        self.intake_behind = self._gauge(
            "intake_behind", "Messages in a queue that are not accepted yet.", "queue"
        )
        self.intake_stopped = self._gauge(
            "intake_stopped", "1 while too much is open for more to be taken.", "service"
        )
        self.messages_accepted = self._counter(
            "messages_accepted_total",
            "Messages taken from a queue, by what became of them.",
            *("service", "result"),
        )
        self.headers_dropped = self._counter(
            "headers_dropped_total", "Headers of senders beyond what is kept.", "queue"
        )
        self.publishes_refused = self._counter(
            "publishes_refused_total",
            "Publishes that the broker did not take, because a queue of a subscriber is full.",
            *("exchange", "routing_key"),
        )
        self.product_paused = self._gauge(
            "product_paused",
            "1 while messages that need this product are not worked on, by the cause.",
            *("org", "service", "product", "cause"),
        )
        self.product_closed_until = self._gauge(
            "product_closed_until_seconds",
            "Unix time until which messages of a priority wait for this product. 0: it is open.",
            *("org", "service", "product", "priority", "cause"),
        )
        self.recovery_needed = self._gauge(
            "recovery_needed",
            "1 while work stands because the database may be older than the work.",
            "service",
        )
        self.outbox_pending = self._gauge("outbox_pending", "Outbox rows not yet confirmed.")
        self.outbox_oldest_age = self._gauge(
            "outbox_oldest_age_seconds", "Age of the oldest outbox row not yet confirmed."
        )
        # The library takes `dead_letters` for a name of the counter `dead_letters_total`.
        self.dead_letters = Gauge(
            "dead_letters",
            "Dead letters that wait for somebody.",
            ("org", "service", "code"),
            registry=self._named_like_a_counter,
        )
        self.dead_letters_given_up = self._counter(
            "dead_letters_total", "Messages given up, by cause.", "org", "service", "code"
        )

    def _webhooks_and_state(self) -> None:
        self.http_connections_ended = self._counter(
            "http_connections_ended_total",
            "Connections ended or refused: one address has too many, all have, no request comes.",
            "reason",
        )
        self.webhooks_received = self._counter(
            "webhooks_received_total",
            "Webhooks by what became of them.",
            "product",
            "outcome",
            "org",
        )
        self.webhook_accept = self._histogram(
            "webhook_accept_seconds", "Time from request to answer.", _ACCEPT_S, "product", "org"
        )
        self.sync_lag = self._gauge(
            "sync_lag_seconds",
            "Age of the oldest change not yet at its destination.",
            *("service", "org"),
        )
        self.contacts_refused = self._gauge(
            "contacts_refused", "Contacts that CRM refuses as they should be.", "org"
        )
        self.erasures_open = self._gauge(
            "erasures_open", "Erasures of users that have not ended.", "org"
        )
        self.erasure_oldest_age = self._gauge(
            "erasure_oldest_age_seconds", "Age of the oldest erasure that has not ended.", "org"
        )
        self.contacts_compared_age = self._gauge(
            "contacts_compared_age_seconds",
            "Time since which changes by staff in CRM were not compared.",
            "org",
        )
        self.channel_expires_in = self._gauge(
            "crm_channel_expires_in_seconds", "Time until CRM's channel lapses.", "org"
        )
        self.tickets_unreadable = self._counter(
            "tickets_unreadable_total", "Tickets that polling found and Desk did not show.", "org"
        )
        self.effects_reconciled = self._counter(
            "effects_reconciled_total",
            "Writes without an answer, by what the look found.",
            *("operation", "found", "org"),
        )
        self.report_differences = self._counter(
            "report_differences_total",
            "Reports of revenue that differ from Zoho's own figure.",
            "org",
        )
        self.gaps_found = self._counter(
            "gaps_found_total", "Changes that no webhook told of.", "product", "org"
        )

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, registry=self.registry)

    def _histogram(
        self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, help_text, labels, buckets=buckets, registry=self.registry)

    def _new(self, kind: type[Info], name: str, help_text: str) -> Info:
        return kind(name, help_text, registry=self.registry)
