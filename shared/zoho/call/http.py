"""The only place that makes a call to Zoho: token, quota, request, errors, one log line.

Products differ in tables (hosts, headers, envelopes, codes), not in code paths.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import backoff

from shared import lease_in_hand
from shared.errors import IntegrationError
from shared.exponential_backoff import lengthened_s
from shared.zoho import waits
from shared.zoho.call.attempts import AttemptRecorder, CallObserver, TryAgain
from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.error_mapping import feedback_of, has_result_per_row, meaning_of
from shared.zoho.call.known_answers import Meaning
from shared.zoho.call.operation import Called, Operation, Reply
from shared.zoho.call.profile import Probe
from shared.zoho.call.request import ZohoRequest
from shared.zoho.call.responses import read
from shared.zoho.call.tokens import Token, Tokens
from shared.zoho.call.transport import (
    AnswerLost,
    HttpRequest,
    NotWritten,
    RawResponse,
    RequestTrace,
    Transport,
)
from shared.zoho.quota.call import Call
from shared.zoho.quota.quota import Permit, Quota, QuotaFeedback

__all__ = ["Called", "Operation", "Permit", "Reply", "ZohoHttp", "ZohoRequest"]

# From the grant of a permit to the last moment at which its request may be written.
_WRITE_WITHIN_S: Final = 40.0


class ZohoHttp:
    """One per process. `endpoints` by organization. `probes` by product: a cheap GET and its path,
    asked first when a breaker's pause is over, so that no write has to find out. `first_wait_s`:
    before the second try where Zoho names no time. It doubles.
    """

    def __init__(
        self,
        transport: Transport,
        tokens: Tokens,
        quota: Quota,
        endpoints: Mapping[str, Endpoints],
        breakers: Breakers,
        *,
        observers: Sequence[CallObserver] = (),
        probes: Mapping[str, Probe] | None = None,
        first_wait_s: float = waits.FIRST_RETRY_S,
    ) -> None:
        self._transport = transport
        self._tokens = tokens
        self._quota = quota
        self._endpoints = endpoints
        self._breakers = breakers
        self._recorder = AttemptRecorder(breakers, observers, first_wait_s)
        self._probes = probes or {}

    async def call(self, request: ZohoRequest, permit: Permit | None = None) -> Reply:
        """Make one call. With `permit`, the first attempt uses it, and later ones keep its
        `write_until`.

        Raises:
            RateLimited: a quota of ours or Zoho's, or the token throttle. Not done.
            Unavailable: not done, or repeatable (and maybe done).
            OutcomeUnknown: not repeatable, and the answer was lost: maybe done.
            Misconfigured: credentials, scope, organization, licence, disabled user. Not done.
            ZohoRejected: Zoho said no.
        """
        if permit is not None and not permit.trial:
            self._breakers.check(request.call)
        attempts = backoff.on_exception(
            backoff.runtime,
            TryAgain,
            max_tries=waits.ATTEMPTS_IN_PLACE,
            value=lambda error: error.wait_s,
            jitter=lengthened_s,
            logger=None,
        )
        try:
            return await attempts(self._attempt)(request, permit)
        except TryAgain as last:
            raise last.error from last.__cause__

    @asynccontextmanager
    async def permit(self, call: Call) -> AsyncIterator[Permit]:
        """Take token and quota for one call. What is not used is given back on leaving.

        Raises as `call` does.
        """
        trial = self._breakers.check(call)
        try:
            if trial and call.product in self._probes:
                await self._probe(call)
            permit = await self._take(call)
        except BaseException:
            self._breakers.undecided(call)
            raise
        try:
            if not trial:
                # Another call may have found out while this one waited for its turn.
                trial = self._breakers.check(call)
            permit.trial = trial
            yield permit
        finally:
            if not permit.spent:
                await self._quota.give_back(permit)
                if trial:
                    self._breakers.undecided(call)

    async def _attempt(self, request: ZohoRequest, permit: Permit | None) -> Reply:
        request.attempt += 1
        if request.attempt == 1 and permit is not None:
            return await self._try(request, permit)
        async with self.permit(request.call) as own:
            if permit is not None:
                own.write_until = min(own.write_until, permit.write_until)
            return await self._try(request, own)

    async def _take(self, call: Call) -> Permit:
        has_token = False
        try:
            await self._tokens.get(call.org)
            has_token = True
            return await self._quota.take(call, write_within_s=_WRITE_WITHIN_S)
        except IntegrationError as error:
            # What the ledger refuses one priority, it may grant another.
            self._breakers.failed(call, error, only_its_priority=has_token)
            raise

    async def _probe(self, call: Call) -> None:
        operation, path = self._probes[call.product]
        request = ZohoRequest(operation, path, operation.call(call.org, call.priority), attempt=1)
        while True:
            permit = await self._take(request.call)
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
        token = await self._tokens.get(request.org)
        trace = RequestTrace(min(permit.write_until, lease_in_hand.write_until()))
        began = time.monotonic()
        try:
            raw = await self._transport.send(self._http_request(request, permit, token), trace)
        except NotWritten as error:
            await self._quota.give_back(permit)
            raise self._recorder.not_written(request, error, time.monotonic() - began) from error
        except BaseException as error:
            # Cancelled while it was under way, or the answer lost: Zoho has counted it.
            if trace.written:
                await self._quota.release(permit, QuotaFeedback())
            if not isinstance(error, AnswerLost):
                raise
            raise self._recorder.lost(request, time.monotonic() - began) from error
        return await self._answered(request, permit, token, raw, began)

    async def _answered(
        self,
        request: ZohoRequest,
        permit: Permit,
        token: Token,
        raw: RawResponse,
        began: float,
    ) -> Reply:
        operation = request.operation
        profile = self._endpoints[request.org].products[operation.product]
        answer = read(profile.envelope, operation.accept, raw.status, raw.headers, raw.body)
        row = None
        if not answer.ok:
            row = self._recorder.meant(request, token.sha256, meaning_of(profile, answer))
        feedback = feedback_of(profile, row, raw.headers)
        error: Exception | None = None
        if row is not None and not (operation.rows and has_result_per_row(profile, answer)):
            replaces = row.meaning is Meaning.BAD_TOKEN and self._may_replace(
                request, permit, token
            )
            if not replaces and feedback.limit is None:
                # Before the permit is released, so that whoever waits for its slot finds the
                # breaker open. What a limit means is known only once the ledger was asked.
                error = self._recorder.refused(request, row, answer, feedback)
        if feedback.limit is None:
            self._quota.release_soon(permit, feedback)
        else:
            feedback = await self._quota.release(permit, feedback)
        self._recorder.answered(request, row, answer, feedback, time.monotonic() - began)
        if error is not None:
            raise error
        if row is None or (operation.rows and has_result_per_row(profile, answer)):
            self._recorder.succeeded(request)
            return Reply(answer.status, answer.body, raw.headers, answer.content)
        if row.meaning is Meaning.BAD_TOKEN and self._may_replace(request, permit, token):
            await self._replace(request, token)
            raise self._recorder.token_refused(request)
        raise self._recorder.refused(request, row, answer, feedback)

    async def _replace(self, request: ZohoRequest, token: Token) -> None:
        try:
            await self._tokens.replace(request.org, token)
        except IntegrationError as error:
            # Dead credentials: the queues pause now, not when the next message finds out.
            self._breakers.failed(request.call, error)
            raise

    def _may_replace(self, request: ZohoRequest, permit: Permit, token: Token) -> bool:
        """Once a call, and a breaker's trial does not pay a mint for a token that is new.

        Nor does a call that may lack its right. A token that is dead the next call finds out.
        """
        if request.operation.optional:
            return False
        return not request.token_replaced and not (permit.trial and self._tokens.is_new(token))

    def _http_request(self, request: ZohoRequest, permit: Permit, token: Token) -> HttpRequest:
        operation = request.operation
        endpoints = self._endpoints[request.org]
        accept = "application/pdf" if operation.accept == "pdf" else "application/json"
        left_s = permit.deadline - time.monotonic()
        return HttpRequest(
            operation.method,
            endpoints.url(operation.product, request.path, api_domain=token.api_domain),
            params=endpoints.params(operation.product)
            | {name: str(value) for name, value in request.params.items()},
            json=request.json,
            headers={
                "Authorization": f"Zoho-oauthtoken {token.access_token}",
                "Accept": accept,
                **({} if request.json is None else {"Content-Type": "application/json"}),
                **endpoints.headers(operation.product),
                **request.headers,
            },
            timeout_s=max(min(operation.timeout_s, left_s), 0.001),
            fresh=not request.repeatable,
        )
