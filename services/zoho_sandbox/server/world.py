"""Hold the sandbox's whole state: records by product, clock, faults, limits, lags, requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from services.zoho_sandbox.server.behaviour import Behaviour
from services.zoho_sandbox.server.clock import Clock
from services.zoho_sandbox.server.faults import Faults
from services.zoho_sandbox.server.limits import DEFAULTS, RateLimits
from services.zoho_sandbox.server.request_log import RequestLog
from services.zoho_sandbox.server.tables import Ids, Record, Table
from services.zoho_sandbox.server.webhook_delivery import WebhookDeliveries
from services.zoho_sandbox.settings import SandboxSettings

PRODUCTS = tuple(DEFAULTS)
# `integration` is the time until Books shows a change made in Billing.
_LAGS_S = {**dict.fromkeys(PRODUCTS, 0.0), "integration": 0.3}

InitialRecords = Callable[["World"], None]
ChangeObserver = Callable[[str, str, str | None], None]
"""Is called with product, table and id of what changed. Without an id: all of the table."""


class World:
    """The state of one simulated Zoho account. Products define their tables and first records."""

    def __init__(self, settings: SandboxSettings, log: RequestLog | None = None) -> None:
        self.settings = settings
        self.behaviour = Behaviour()
        self.clock = Clock(settings.time_zone, lambda: self.behaviour.clock_ahead_s)
        self.ids = Ids()
        self.faults = Faults()
        self.limits = RateLimits(self.clock.monotonic, self.clock.seconds_to_midnight)
        self.lag_s = dict(_LAGS_S)
        self.requests = log or RequestLog()
        self.webhooks = WebhookDeliveries(self.ids, self.clock)
        self.webhooks.set_targets(settings.targets)
        self._tables: dict[str, dict[str, Table]] = {product: {} for product in PRODUCTS}
        self._initial_records: list[InitialRecords] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._observers: list[ChangeObserver] = []

    def define(self, product: str, name: str, *, key: str) -> Table:
        """Define a table, listed in the state as `product.name`. `key` is its id field."""
        table = Table(
            key,
            new_id=lambda: self.ids.new(product),
            lag_s=lambda: self.lag_s[product],
            now=self.clock.monotonic,
            changed=partial(self._notify, product, name),
        )
        self._tables[product][name] = table
        return table

    def table(self, product: str, name: str) -> Table:
        return self._tables[product][name]

    def start_with(self, initial_records: InitialRecords) -> None:
        """Load the records of an empty sandbox: now, and after every reset."""
        self._initial_records.append(initial_records)
        initial_records(self)

    def observe(self, observer: ChangeObserver) -> None:
        """Have the observer called after every change of a record or of the webhook targets."""
        self._observers.append(observer)

    def targets_changed(self) -> None:
        self._notify("targets", "", None)

    def _notify(self, product: str, table: str, record_id: str | None) -> None:
        for observe in self._observers:
            observe(product, table, record_id)

    def call_later(self, delay_s: float, act: Callable[[], object]) -> None:
        """Run an action of Zoho itself after a delay. A reset cancels it."""
        if delay_s <= 0:
            act()
            return
        handle: asyncio.TimerHandle

        def run() -> None:
            self._timers.discard(handle)
            act()

        handle = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(handle)

    def state(self) -> dict[str, Any]:
        """Return all records by product and table, and the ids of the held requests."""
        records: dict[str, Any] = {
            product: {name: list(table) for name, table in tables.items()}
            for product, tables in self._tables.items()
        }
        records["held"] = [entry.id for entry in self.requests.held()]
        return records

    def load(self, state: dict[str, Any]) -> int:
        """Add records in the shape of `state`. Those with a known id are replaced.

        Raises: KeyError: no such product or table.
        """
        loaded = 0
        for product, tables in state.items():
            if product not in self._tables:
                if product == "held":
                    continue
                raise KeyError(product)
            for name, rows in tables.items():
                self._tables[product][name].load(rows)
                loaded += len(rows)
        return loaded

    def reset(self) -> None:
        """Empty everything: records, faults, limits, lags, switches, targets, log."""
        for handle in self._timers:
            handle.cancel()
        self._timers.clear()
        self.faults.clear()
        self.limits.reset()
        self.lag_s = dict(_LAGS_S)
        self.behaviour = Behaviour()
        self.requests.clear()
        self.webhooks.reset()
        self.webhooks.set_targets(self.settings.targets)
        for tables in self._tables.values():
            for table in tables.values():
                table.clear()
        for initial_records in self._initial_records:
            initial_records(self)
        self.targets_changed()


__all__ = ["PRODUCTS", "Record", "Table", "World"]
