"""The only place that makes a call to Zoho: token, quota, request, errors, one log line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.zoho.lanes import Lane

Product = Literal["billing", "books", "crm", "desk"]


@dataclass(frozen=True)
class Operation:
    """One operation of Zoho's, as our typed clients declare it.

    `repeatable` is the declaring client's claim that doing it twice leaves the state of once:
    with it a lost answer is `Unavailable`, without it `OutcomeUnknown`. A GET is always repeatable.
    `weight` is what it costs of the day's credits; `permit()` and `call()` may say another.
    `settle_s`: how long after a lost answer a search surely shows what was done.
    `rows`: the answer holds one result per row sent (CRM's `data`); rows that failed come back in
    their place instead of raising, whatever the HTTP status.
    """

    product: Product
    name: str
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    repeatable: bool = False
    weight: int = 1
    timeout_s: float = 20.0
    settle_s: float = 120.0
    accept: Literal["json", "pdf"] = "json"
    rows: bool = False


@dataclass(frozen=True)
class Reply:
    """Zoho's answer to a call that succeeded.

    `body` is the JSON object: `{}` when there was none (204), a top-level array under `data`.
    Numbers with a fraction are `Decimal`; numbers of 15 digits and more are ids and come as `str`.
    `content` is the document when the operation accepts a PDF.
    """

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass
class Permit:
    """A token and a place in the quota, for one request that is not written yet.

    `write_until` (`time.monotonic()`): past it the request is refused with `Unavailable`
    (code `too_late`) before a byte is written. Whoever holds the permit may move it nearer.
    """

    id: int
    product: Product
    org: str
    lane: Lane
    weight: int
    write_until: float
    access_token: str = field(repr=False)
    api_domain: str = ""
    used: bool = False


class ZohoHttp:
    @asynccontextmanager
    async def permit(
        self, product: Product, *, org: str, lane: Lane, weight: int = 1
    ) -> AsyncIterator[Permit]:
        """Take token and quota for one call; what is not used is given back on leaving."""
        raise NotImplementedError
        yield

    async def call(
        self,
        operation: Operation,
        path: str,
        *,
        org: str,
        lane: Lane,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        weight: int | None = None,
        permit: Permit | None = None,
    ) -> Reply:
        """Make one call; `path` begins with `/` and follows the product's prefix (`/customers`).

        The organization's id goes along by itself, as the product wants it. `json` may hold
        `Decimal`. With `permit`, the first try uses it, and later ones keep its `write_until`.

        Raises:
            RateLimited: a quota of ours or Zoho's, or the token throttle. Not done.
            Unavailable: not done, or repeatable (and maybe done).
            OutcomeUnknown: not repeatable, and the answer was lost: maybe done.
            Misconfigured: credentials, scope, organization, licence, disabled user. Not done.
            ZohoRejected: Zoho said no.
        """
        raise NotImplementedError
