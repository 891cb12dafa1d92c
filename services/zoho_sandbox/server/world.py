"""Hold the sandbox's whole state: records by product, clock, faults, limits, lags, requests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from services.zoho_sandbox.server.behaviour import Behaviour
from services.zoho_sandbox.server.clock import Clock
from services.zoho_sandbox.server.faults import Faults
from services.zoho_sandbox.server.limits import RateLimits
from services.zoho_sandbox.server.request_log import RequestLog
from services.zoho_sandbox.server.tables import Ids, Record, Table
from services.zoho_sandbox.server.webhook_delivery import WebhookDeliveries
from services.zoho_sandbox.settings import SandboxSettings

PRODUCTS = ("accounts", "billing", "books", "crm", "desk")
_SAVE_AFTER_S = 0.5
# `integration` is the time until Books shows a change made in Billing.
_LAGS_S = {**dict.fromkeys(PRODUCTS, 0.0), "integration": 0.3}

InitialRecords = Callable[["World"], None]


class World:
    """The state of one simulated Zoho account. Products define their tables and first records."""

    def __init__(self, settings: SandboxSettings, log: RequestLog | None = None) -> None:
        self.settings = settings
        self.clock = Clock(settings.time_zone)
        self.ids = Ids()
        self.behaviour = Behaviour()
        self.faults = Faults()
        self.limits = RateLimits(self.clock.monotonic, self.clock.seconds_to_midnight)
        self.lag_s = dict(_LAGS_S)
        self.requests = log or RequestLog()
        self.webhooks = WebhookDeliveries(self.ids, self.clock)
        self.webhooks.set_targets(settings.targets)
        self._tables: dict[str, dict[str, Table]] = {product: {} for product in PRODUCTS}
        self._initial_records: list[InitialRecords] = []
        self._timers: set[asyncio.TimerHandle] = set()
        self._changed = asyncio.Event()

    def define(self, product: str, name: str, *, key: str) -> Table:
        """Define a table, listed in the state as `product.name`. `key` is its id field."""
        table = Table(
            key,
            new_id=lambda: self.ids.new(product),
            lag_s=lambda: self.lag_s[product],
            now=self.clock.monotonic,
            changed=self.mark_changed,
        )
        self._tables[product][name] = table
        return table

    def table(self, product: str, name: str) -> Table:
        return self._tables[product][name]

    def start_with(self, initial_records: InitialRecords) -> None:
        """Load the records of an empty sandbox: now, and after every reset."""
        self._initial_records.append(initial_records)
        initial_records(self)

    def mark_changed(self) -> None:
        """Request another write of the state file."""
        self._changed.set()

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

    def restore(self, path: Path) -> None:
        """Load the state file of a former run, if there is one."""
        if not path.exists():
            return
        state = orjson.loads(path.read_bytes())
        self.webhooks.set_targets(state.pop("targets", {}))
        self.load(state)

    async def save_on_change(self, path: Path) -> None:
        """Write the state file after every change, until cancelled, and then once more."""
        writing: asyncio.Future[None] | None = None
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                writing = asyncio.ensure_future(asyncio.to_thread(_write, path, self._serialized()))
                await asyncio.shield(writing)
                await asyncio.sleep(_SAVE_AFTER_S)
        finally:
            if writing is not None:
                # A thread cannot be cancelled. Without this wait it would write into the same
                # file, or replace it with an older state.
                await asyncio.wait([writing])
            _write(path, self._serialized())

    def _serialized(self) -> bytes:
        return orjson.dumps({**self.state(), "targets": self.webhooks.targets_as_json()})


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(path.suffix + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)  # a kill before this line leaves the old state whole


__all__ = ["PRODUCTS", "Record", "Table", "World"]
