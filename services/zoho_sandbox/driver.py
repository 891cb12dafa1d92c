"""Drive the sandbox through its admin API: for tests, the demo, and users' own tests.

async with SandboxDriver("http://127.0.0.1:8090") as sandbox:
    await sandbox.fault("billing", "hold_after", operation="create_customer", times=1)
    request = await sandbox.wait_until_held("billing", "create_customer")
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import aiohttp

Json = dict[str, Any]


class SandboxRefused(Exception):
    """The sandbox refused a call. The message holds its answer."""


class WaitTimeout(AssertionError):
    """The expected event did not happen in time."""


class SandboxDriver:
    """Calls the admin API. Waits are for events at the sandbox. `timeout_s` only bounds them."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    # -- records and requests -------------------------------------------------------------------

    async def state(self) -> Json:
        return dict(await self._call("GET", "/state"))

    async def records(self, product: str, table: str) -> list[Json]:
        """Return the records of `records("billing", "customers")`. Empty for an unknown table."""
        state = await self.state()
        return list(state[product].get(table, []))

    async def load(self, state: Json) -> None:
        await self._call("POST", "/load", state)

    async def requests(
        self, *, product: str | None = None, operation: str | None = None, since: int | str = 0
    ) -> list[Json]:
        """Return the requests received after `since`: a request's `id`, or a time in ISO 8601."""
        return await self._requests(product=product, operation=operation, since=since)

    async def wait_for_request(
        self,
        product: str,
        operation: str,
        *,
        since: int = 0,
        count: int = 1,
        answered: bool = True,
        timeout_s: float | None = None,
    ) -> list[Json]:
        """Return the requests of this operation after `since`, once `count` of them are answered.

        Raises: WaitTimeout: there were too few in time.
        """
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while True:
            matching = await self._requests(
                product=product,
                operation=operation,
                since=since,
                answered="true" if answered else "false",
                wait_s=1,
            )
            if len(matching) >= count:
                return matching
            self._give_up_after(until, f"{count} × {product} {operation}")
            await asyncio.sleep(0.02)

    async def wait_until_held(
        self, product: str, operation: str | None = None, *, timeout_s: float | None = None
    ) -> Json:
        """Return the first held request. Its `held` is `before` or `after` the handler ran.

        Raises: WaitTimeout: none was in time.
        """
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while True:
            matching = await self._requests(
                product=product, operation=operation, held="true", wait_s=1
            )
            if matching:
                return matching[0]
            self._give_up_after(until, f"a held {product} {operation or 'request'}")

    async def wait_for_record(
        self, product: str, table: str, timeout_s: float | None = None, **fields: Any
    ) -> Json:
        """Return the first record whose fields have these values.

        Raises: WaitTimeout: there was none in time.
        """
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while True:
            for record in await self.records(product, table):
                if all(record.get(name) == value for name, value in fields.items()):
                    return record
            self._give_up_after(until, f"a record in {product}.{table}")
            await asyncio.sleep(0.05)

    # -- faults, limits, webhooks ---------------------------------------------------------------

    async def fault(
        self,
        product: str,
        kind: str,
        *,
        operation: str | None = None,
        body_contains: str = "",
        times: int | None = None,
        skip: int = 0,
        probability: float = 1.0,
        delay_s: float | None = None,
    ) -> Json:
        """Order a fault. `operation` is a name or a prefix of paths, `POST /customers`.

        With `body_contains` the fault is only for requests whose body has this text. The first
        `skip` requests that it concerns are answered as always.
        """
        return dict(
            await self._call(
                "POST",
                "/faults",
                {
                    "product": product,
                    "kind": kind,
                    "operation": operation,
                    "body_contains": body_contains,
                    "times": times,
                    "skip": skip,
                    "probability": probability,
                    "delay_s": delay_s,
                },
            )
        )

    async def clear_faults(self) -> None:
        """Remove all faults and release every held request."""
        await self._call("DELETE", "/faults")

    async def limits(self) -> Json:
        return dict(await self._call("GET", "/limits"))

    async def set_limits(self, product: str, **limits: float | None) -> None:
        """Set `minute`, `window_s`, `day`, `reset_in_s`, … and restart the counts."""
        await self._call("PUT", "/limits", {product: limits})

    async def set_lag(self, **seconds: float) -> None:
        """Set the lag of products' searches. `integration` is the lag from Billing to Books."""
        await self._call("PUT", "/lag", seconds)

    async def set_behaviour(self, **switches: Any) -> None:
        """Change switches: `ignored_filters`, `maximum_lengths`, `replies_move_modified_time`."""
        await self._call("PUT", "/behaviour", switches)

    async def set_targets(self, **targets: Json | list[Json]) -> None:
        """Set webhook targets by product: `billing={"url": …, "secret": …}`."""
        await self._call("PUT", "/targets", targets)

    async def set_delivery_faults(
        self,
        *,
        drop: float = 0,
        duplicate: float = 0,
        shuffle: bool = False,
        delay_s: float = 0,
    ) -> None:
        """Set how webhooks are lost, doubled or delayed. Without arguments, deliver normally."""
        body = {"drop": drop, "duplicate": duplicate, "shuffle": shuffle, "delay_s": delay_s}
        await self._call("POST", "/webhooks", body)

    async def deliveries(self, *, product: str | None = None) -> list[Json]:
        deliveries = list(await self._call("GET", "/deliveries"))
        return [row for row in deliveries if product in (None, row["product"])]

    async def wait_until_delivered(
        self, *, product: str | None = None, timeout_s: float | None = None
    ) -> list[Json]:
        """Return all deliveries, once none is on its way any more.

        Raises: WaitTimeout: some still are.
        """
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while True:
            deliveries = await self.deliveries(product=product)
            if all(row["status"] != "scheduled" for row in deliveries):
                return deliveries
            self._give_up_after(until, "the end of all deliveries")
            await asyncio.sleep(0.05)

    async def reset(self) -> None:
        await self._call("POST", "/reset")

    # -- actions of Zoho itself and of staff ----------------------------------------------------

    async def renew(self, subscription_id: str) -> Json:
        return await self.post(f"billing/subscriptions/{subscription_id}/renew")

    async def fail_payment(self, subscription_id: str) -> Json:
        return await self.post(f"billing/subscriptions/{subscription_id}/fail_payment")

    async def expire(self, subscription_id: str) -> Json:
        return await self.post(f"billing/subscriptions/{subscription_id}/expire")

    async def cancel(self, subscription_id: str, *, at_term_end: bool = False) -> Json:
        path = f"billing/subscriptions/{subscription_id}/cancel"
        return await self.post(path, at_term_end=at_term_end)

    async def remind(self, subscription_id: str, event_type: str) -> Json:
        """Announce `trial_expiring`, `subscription_ahead` or `subscription_expiring`."""
        path = f"billing/subscriptions/{subscription_id}/remind"
        return await self.post(path, event_type=event_type)

    async def expire_card(self, card_id: str, *, soon: bool = False) -> Json:
        """Let a card expire, or with `soon` announce that it will."""
        return await self.post(f"billing/cards/{card_id}/expire", soon=soon)

    async def add_card(self, customer_id: str) -> Json:
        return await self.post(f"billing/customers/{customer_id}/add_card")

    async def decline_next(self, customer_id: str, *, times: int = 1) -> Json:
        return await self.post(f"billing/customers/{customer_id}/decline_next", times=times)

    async def billing_event(self, event_type: str, data: Json) -> Json:
        return await self.post("billing/events", event_type=event_type, data=data)

    async def contact(self, contact_id: str, act: str, **body: Any) -> Json:
        """Edit, merge or delete a contact as staff."""
        return await self.post(f"crm/contacts/{contact_id}/{act}", **body)

    async def ticket(self, ticket_id: str, act: str, **body: Any) -> Json:
        """Close, reopen, move, merge, trash, edit a ticket, or reply or comment, as staff."""
        return await self.post(f"desk/tickets/{ticket_id}/{act}", **body)

    async def post(self, path: str, **body: Any) -> Json:
        """Post to any other path under `/_sandbox`."""
        return dict(await self._call("POST", f"/{path}", body) or {})

    # -- the HTTP calls -------------------------------------------------------------------------

    async def _requests(self, **query: Any) -> list[Json]:
        filters = {name: str(value) for name, value in query.items() if value is not None}
        return list(await self._call("GET", "/requests", query=filters))

    async def _call(
        self, method: str, path: str, body: Any = None, query: dict[str, str] | None = None
    ) -> Any:
        if self._session is None:
            raise RuntimeError("use the driver as an async context manager")
        url = f"{self.url}/_sandbox{path}"
        async with self._session.request(method, url, json=body, params=query) as answer:
            content = await answer.json()
            if answer.status >= 400:
                raise SandboxRefused(f"{answer.status} to {method} {path}: {content}")
            return content

    def _give_up_after(self, until: float, what: str) -> None:
        if time.monotonic() > until:
            raise WaitTimeout(f"the sandbox never saw {what}")
