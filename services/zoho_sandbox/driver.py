"""A client of the sandbox's admin API, for tests, the demo, and users' own tests.

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
    """The sandbox did not understand the driver: what it answered."""


class DidNotHappen(AssertionError):
    """What the driver waited for did not come in time."""


class SandboxDriver:
    """Waits are for events at the sandbox; `timeout_s` only bounds them."""

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

    # -- what Zoho holds, and what it was asked ------------------------------------------------

    async def state(self) -> Json:
        return dict(await self._call("GET", "/state"))

    async def records(self, product: str, table: str) -> list[Json]:
        """`records("billing", "customers")`; empty for a table the sandbox does not have."""
        state = await self.state()
        return list(state[product].get(table, []))

    async def load(self, state: Json) -> None:
        await self._call("POST", "/load", state)

    async def requests(
        self, *, product: str | None = None, operation: str | None = None, since: int | str = 0
    ) -> list[Json]:
        """`since`: the `id` of a request already seen, or a time in ISO 8601."""
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
        """The requests of this operation after `since`, once there are `count`, and answered.

        Raises: DidNotHappen: there were too few in time.
        """
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while True:
            found = await self._requests(
                product=product,
                operation=operation,
                since=since,
                answered="true" if answered else "false",
                wait_s=1,
            )
            if len(found) >= count:
                return found
            self._give_up_after(until, f"{count} × {product} {operation}")
            await asyncio.sleep(0.02)

    async def wait_until_held(
        self, product: str, operation: str | None = None, *, timeout_s: float | None = None
    ) -> Json:
        """The first request that is held just now; its `held` says before or after it was done.

        Raises: DidNotHappen: none was in time.
        """
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while True:
            found = await self._requests(
                product=product, operation=operation, held="true", wait_s=1
            )
            if found:
                return found[0]
            self._give_up_after(until, f"a held {product} {operation or 'request'}")

    async def wait_for_record(
        self, product: str, table: str, timeout_s: float | None = None, **fields: Any
    ) -> Json:
        """The first record whose fields have these values.

        Raises: DidNotHappen: there was none in time.
        """
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while True:
            for record in await self.records(product, table):
                if all(record.get(name) == value for name, value in fields.items()):
                    return record
            self._give_up_after(until, f"a record in {product}.{table}")
            await asyncio.sleep(0.05)

    # -- what goes wrong -------------------------------------------------------------------------

    async def fault(
        self,
        product: str,
        kind: str,
        *,
        operation: str | None = None,
        times: int | None = None,
        probability: float = 1.0,
        delay_s: float | None = None,
    ) -> Json:
        """`operation` is a name (`create_customer`) or `"POST /customers"`, a prefix of paths."""
        return dict(
            await self._call(
                "POST",
                "/faults",
                {
                    "product": product,
                    "kind": kind,
                    "operation": operation,
                    "times": times,
                    "probability": probability,
                    "delay_s": delay_s,
                },
            )
        )

    async def clear_faults(self) -> None:
        """No faults any more; what is held goes on."""
        await self._call("DELETE", "/faults")

    async def limits(self) -> Json:
        return dict(await self._call("GET", "/limits"))

    async def set_limits(self, product: str, **limits: float | None) -> None:
        """`minute`, `window_s`, `day`, `reset_in_s`, `concurrency`, …; the count starts anew."""
        await self._call("PUT", "/limits", {product: limits})

    async def set_lag(self, **seconds: float) -> None:
        """By product; `integration` is the way from Billing to Books."""
        await self._call("PUT", "/lag", seconds)

    async def set_targets(self, **targets: Json | list[Json]) -> None:
        """`billing={"url": …, "secret": …}`."""
        await self._call("PUT", "/targets", targets)

    async def misbehave(
        self,
        *,
        drop: float = 0,
        duplicate: float = 0,
        shuffle: bool = False,
        delay_s: float = 0,
    ) -> None:
        """How webhooks are delivered from now on; without arguments, well."""
        body = {"drop": drop, "duplicate": duplicate, "shuffle": shuffle, "delay_s": delay_s}
        await self._call("POST", "/webhooks", body)

    async def deliveries(self, *, product: str | None = None) -> list[Json]:
        found = list(await self._call("GET", "/deliveries"))
        return [one for one in found if product in (None, one["product"])]

    async def wait_until_delivered(
        self, *, product: str | None = None, timeout_s: float | None = None
    ) -> list[Json]:
        """All deliveries, once none is on its way any more.

        Raises: DidNotHappen: some still are.
        """
        until = time.monotonic() + (timeout_s or self._timeout_s)
        while True:
            found = await self.deliveries(product=product)
            if all(one["status"] != "scheduled" for one in found):
                return found
            self._give_up_after(until, "the end of all deliveries")
            await asyncio.sleep(0.05)

    async def reset(self) -> None:
        await self._call("POST", "/reset")

    # -- what Zoho does by itself, and what staff do ---------------------------------------------

    async def renew(self, subscription_id: str) -> Json:
        return await self.happen(f"billing/subscriptions/{subscription_id}/renew")

    async def fail_payment(self, subscription_id: str) -> Json:
        return await self.happen(f"billing/subscriptions/{subscription_id}/fail_payment")

    async def expire(self, subscription_id: str) -> Json:
        return await self.happen(f"billing/subscriptions/{subscription_id}/expire")

    async def cancel(self, subscription_id: str, *, at_term_end: bool = False) -> Json:
        path = f"billing/subscriptions/{subscription_id}/cancel"
        return await self.happen(path, at_term_end=at_term_end)

    async def add_card(self, customer_id: str) -> Json:
        return await self.happen(f"billing/customers/{customer_id}/add_card")

    async def decline_next(self, customer_id: str, *, times: int = 1) -> Json:
        return await self.happen(f"billing/customers/{customer_id}/decline_next", times=times)

    async def billing_event(self, event_type: str, data: Json) -> Json:
        return await self.happen("billing/events", event_type=event_type, data=data)

    async def contact(self, contact_id: str, act: str, **body: Any) -> Json:
        """`act`: edit, merge, delete."""
        return await self.happen(f"crm/contacts/{contact_id}/{act}", **body)

    async def ticket(self, ticket_id: str, act: str, **body: Any) -> Json:
        """`act`: close, reopen, reply, move, merge, trash, comment."""
        return await self.happen(f"desk/tickets/{ticket_id}/{act}", **body)

    async def happen(self, path: str, **body: Any) -> Json:
        """Any other call under `/_sandbox`."""
        return dict(await self._call("POST", f"/{path}", body) or {})

    # -- plumbing --------------------------------------------------------------------------------

    async def _requests(self, **query: Any) -> list[Json]:
        given = {name: str(value) for name, value in query.items() if value is not None}
        return list(await self._call("GET", "/requests", query=given))

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
            raise DidNotHappen(f"the sandbox never saw {what}")
