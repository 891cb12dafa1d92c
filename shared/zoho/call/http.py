"""The only place that makes a call to Zoho: token, quota, request, errors, one log line.

Products differ in tables (hosts, headers, envelopes, codes), not in code paths.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import backoff

from shared.errors import IntegrationError
from shared.zoho.call.attempts import AttemptRecorder, CallObserver, Params, TryAgain, ZohoRequest
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.error_mapping import is_told_by_rows, meaning_of, told_by
from shared.zoho.call.error_tables.known_answers import KnownAnswer, Meaning
from shared.zoho.call.operation import Called, Operation, Reply
from shared.zoho.call.responses import ParsedResponse, read
from shared.zoho.call.tokens import Token, Tokens
from shared.zoho.call.transport import AnswerLost, NotWritten, RawResponse, RequestTrace, Transport
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Permit, Quota, QuotaFeedback

__all__ = ["Called", "Operation", "Permit", "Reply", "ZohoHttp"]

_TRIES: Final = 3
# From the grant of a permit to the last moment at which its request may be written.
_WRITE_WITHIN_S: Final = 40.0


class ZohoHttp:
    """One per process. `endpoints` by organization. `probes` by product: a cheap GET and its path,
    asked first when a breaker's pause is over, so that no write has to find out. `first_wait_s`:
    before the second try where Zoho names no time. It doubles.
    """

    def __init__(
        self,
        wire: Transport,
        tokens: Tokens,
        quota: Quota,
        endpoints: Mapping[str, Endpoints],
        breakers: Breakers,
        *,
        observers: Sequence[CallObserver] = (),
        probes: Mapping[str, tuple[Operation, str]] | None = None,
        first_wait_s: float = 0.5,
    ) -> None:
        self._wire = wire
        self._tokens = tokens
        self._quota = quota
        self._endpoints = endpoints
        self._breakers = breakers
        self._outcomes = AttemptRecorder(breakers, observers, first_wait_s)
        self._probes = probes or {}

    async def call(
        self,
        operation: Operation,
        path: str,
        *,
        org: str,
        lane: Priority,
        params: Params | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        weight: int | None = None,
        permit: Permit | None = None,
    ) -> Reply:
        """Make one call. `path` begins with `/` and follows the product's prefix (`/customers`).

        The organization's id goes along by itself, as the product wants it. `json` may hold
        `Decimal`. With `permit`, the first try uses it, and later ones keep its `write_until`.

        Raises:
            RateLimited: a quota of ours or Zoho's, or the token throttle. Not done.
            Unavailable: not done, or repeatable (and maybe done).
            OutcomeUnknown: not repeatable, and the answer was lost: maybe done.
            Misconfigured: credentials, scope, organization, licence, disabled user. Not done.
            ZohoRejected: Zoho said no.
        """
        request = ZohoRequest(operation, path, org, lane, params or {}, json, headers or {})
        if permit is not None and not permit.trial:
            self._breakers.check(org, operation.product, operation.name)

        async def once() -> Reply:
            request.attempt += 1
            if request.attempt == 1 and permit is not None:
                return await self._try(request, permit)
            cost = operation.weight if weight is None else weight
            async with self.permit(
                operation.product,
                org=org,
                lane=lane,
                weight=cost,
                heavy=operation.is_heavy(cost),
                operation=operation.name,
                timeout_s=operation.timeout_s,
            ) as own:
                if permit is not None:
                    own.write_until = min(own.write_until, permit.write_until)
                return await self._try(request, own)

        tries = backoff.on_exception(
            backoff.runtime,
            TryAgain,
            max_tries=_TRIES,
            value=lambda error: error.wait_s,
            jitter=lambda wait_s: wait_s * random.uniform(1.0, 1.5),  # noqa: S311
            logger=None,
        )
        try:
            return await tries(once)()
        except TryAgain as last:
            raise last.error from last.__cause__

    @asynccontextmanager
    async def permit(
        self,
        product: str,
        *,
        org: str,
        lane: Priority,
        weight: int = 1,
        heavy: bool = False,
        operation: str = "",
        timeout_s: float = 20.0,
    ) -> AsyncIterator[Permit]:
        """Take token and quota for one call. What is not used is given back on leaving.

        `timeout_s`: what the call may take once it is written. Raises as `call` does.
        """
        trial = self._breakers.check(org, product, operation)
        try:
            if trial and product in self._probes:
                await self._probe(product, org, lane)
            permit = await self._take(product, org, lane, weight, operation, timeout_s, heavy)
        except BaseException:
            self._breakers.undecided(org, product, operation)
            raise
        try:
            if not trial:
                # Another call may have found out while this one waited for its turn.
                trial = self._breakers.check(org, product, operation)
            permit.trial = trial
            yield permit
        finally:
            if not permit.spent:
                await self._quota.give_back(permit)
                if trial:
                    self._breakers.undecided(org, product, operation)

    async def _take(
        self,
        product: str,
        org: str,
        lane: Priority,
        weight: int,
        operation: str,
        timeout_s: float,
        heavy: bool = False,
    ) -> Permit:
        only = None
        try:
            await self._tokens.get(org)
            only = lane  # what the ledger refuses one lane, it may grant another
            return await self._quota.take(
                org, product, lane, weight, _WRITE_WITHIN_S + timeout_s, timeout_s, heavy=heavy
            )
        except IntegrationError as error:
            self._breakers.failed(org, product, operation, error, lane=only)
            raise

    async def _probe(self, product: str, org: str, lane: Priority) -> None:
        operation, path = self._probes[product]
        request = ZohoRequest(operation, path, org, lane, {}, None, {}, attempt=1)
        while True:
            permit = await self._take(
                product, org, lane, operation.weight, operation.name, operation.timeout_s
            )
            permit.trial = True
            replaced = request.token_replaced
            try:
                await self._try(request, permit)
            except TryAgain as error:
                if request.token_replaced == replaced:
                    raise error.error from error.__cause__
                request.attempt += 1  # the token was dead, which says nothing of the product
            else:
                return

    async def _try(self, request: ZohoRequest, permit: Permit) -> Reply:
        operation = request.operation
        token = await self._tokens.get(request.org)
        exchange = RequestTrace(permit.write_until)
        began = time.monotonic()
        try:
            raw = await self._send(request, permit, exchange, token)
        except NotWritten as error:
            await self._quota.give_back(permit)
            raise self._outcomes.not_written(request, error, time.monotonic() - began) from error
        except BaseException as error:
            # Cancelled while it was under way, or the answer lost: Zoho has counted it.
            if exchange.written:
                await self._quota.release(permit, QuotaFeedback())
            if not isinstance(error, AnswerLost):
                raise
            raise self._outcomes.lost(request, time.monotonic() - began) from error
        answer = read(operation.product, operation.accept, raw.status, raw.headers, raw.body)
        row = None if answer.ok else self._meaning(request, token, answer)
        told = await self._quota.release(permit, told_by(row, raw.headers))
        self._outcomes.answered(request, row, answer, told, time.monotonic() - began)
        if row is None or (operation.rows and is_told_by_rows(operation.product, answer)):
            self._outcomes.succeeded(request)
            return Reply(answer.status, answer.body, raw.headers, answer.content)
        if row.meaning is Meaning.BAD_TOKEN and self._may_replace(request, permit, token):
            await self._replace(request, token)
            raise self._outcomes.token_refused(request)
        raise self._outcomes.refused(request, row, answer, told)

    def _meaning(self, request: ZohoRequest, token: Token, answer: ParsedResponse) -> KnownAnswer:
        row = meaning_of(request.operation.product, answer)
        return self._outcomes.meant(request, token.sha256, row)

    async def _replace(self, request: ZohoRequest, token: Token) -> None:
        try:
            await self._tokens.replace(request.org, token)
        except IntegrationError as error:
            # Dead credentials: the queues pause now, not when the next message finds out.
            self._breakers.failed(
                request.org, request.operation.product, request.operation.name, error
            )
            raise

    def _may_replace(self, request: ZohoRequest, permit: Permit, token: Token) -> bool:
        """Once a call, and a breaker's trial does not pay a mint for a token that is new."""
        return not request.token_replaced and not (permit.trial and self._tokens.is_new(token))

    async def _send(
        self, request: ZohoRequest, permit: Permit, exchange: RequestTrace, token: Token
    ) -> RawResponse:
        operation = request.operation
        endpoints = self._endpoints[request.org]
        accept = "application/pdf" if operation.accept == "pdf" else "application/json"
        headers = {
            "Authorization": f"Zoho-oauthtoken {token.access_token}",
            "Accept": accept,
            **({} if request.json is None else {"Content-Type": "application/json"}),
            **endpoints.headers(operation.product),
            **request.headers,
        }
        params = endpoints.params(operation.product) | {
            name: str(value) for name, value in request.params.items()
        }
        left_s = permit.deadline - time.monotonic()
        return await self._wire.send(
            exchange,
            operation.method,
            endpoints.url(
                operation.at or operation.product, request.path, api_domain=token.api_domain
            ),
            params=params,
            json=request.json,
            headers=headers,
            timeout_s=max(min(operation.timeout_s, left_s), 0.001),
            fresh=not request.repeatable,
        )
