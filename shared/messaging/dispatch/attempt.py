"""Run one attempt at a leased message: open it, parse it again, handle it, commit it, settle it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Final

import structlog

from shared.business_time import happened_at
from shared.contracts.commands.command import Command
from shared.contracts.parsing import parse
from shared.crypto.envelope import Vault
from shared.errors import PermanentError, Postponed, Unavailable
from shared.messaging.dispatch.outages import through_outage
from shared.messaging.dispatch.putting_back import PuttingBack, code_and_reason
from shared.messaging.dispatch.reservations import CallBudget
from shared.messaging.handling.giving_up import failure_of
from shared.messaging.handling.observers import Settled, SettlementObserver
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.handling.settlement import (
    PERSON_S,
    DecideAnew,
    Done,
    GiveUp,
    Settlement,
    WaitForPerson,
    settlement_for,
)
from shared.messaging.handling.unit_of_work import Claim, UnitOfWork
from shared.messaging.inbox.dead_letters import DeadLetter, DeadLetters
from shared.messaging.inbox.just_accepted import JustAccepted, MessageIdentity
from shared.messaging.inbox.lines import LeasedMessage, Lines, MessageOutcome, PutBackResult
from shared.messaging.messages.outgoing_message import SEALED, sealing_context
from shared.messaging.messages.received_message import ReceivedMessage
from shared.messaging.outbox.committer import ClaimLost, Committer, StaleRead
from shared.messaging.outbox.direct_publisher import DirectPublisher
from shared.observability import logs
from shared.storage.pool import unavailable_when_down

_log = structlog.get_logger(__name__)

_STALE_S: Final = 5.0

ERASED: Final = "erased"

LARGE_AT_ONCE: Final = 2
"""While a message is worked on, its body is in memory sealed, open and parsed."""


class Attempts:
    """Runs attempts. Each ends in a commit, in a wait, or in a lost lease."""

    def __init__(
        self,
        *,
        service: str,
        routes: Routes,
        vault: Vault,
        lines: Lines,
        committer: Committer,
        publisher: DirectPublisher,
        just_accepted: JustAccepted,
        dead_letters: DeadLetters,
        putting_back: PuttingBack,
        budget: CallBudget,
        policy: MessagingPolicy,
        observers: Sequence[SettlementObserver],
    ) -> None:
        self._service = service
        self._routes = routes
        self._vault = vault
        self._lines = lines
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        # Apart, because who is given up waits for no handler.
        self._large_given_up = asyncio.Semaphore(1)
        self._committer = committer
        self._publisher = publisher
        self._just_accepted = just_accepted
        self._dead_letters = dead_letters
        self._putting_back = putting_back
        self._budget = budget
        self._policy = policy
        self._observers = observers

    async def run(self, leased: LeasedMessage) -> None:
        """Work on a message until it is settled or waits.

        Cancelled, it leaves the message leased, and another replica takes it over.
        """
        with logs.bind(correlation_id=leased.correlation_id or ""):
            try:
                async with self._turn(leased, self._large):
                    whole = await self._with_body(leased)
                    while await self._run_once(whole):
                        pass
            except ClaimLost:
                _log.info("a lease was lost", routing_key=leased.routing_key)
            finally:
                await self._give_back_calls(leased)

    def _turn(
        self, leased: LeasedMessage, turns: asyncio.Semaphore
    ) -> AbstractAsyncContextManager[None]:
        """A message whose body did not come with it is worked on in turn with others."""
        return nullcontext() if leased.body else turns

    async def _with_body(self, leased: LeasedMessage) -> LeasedMessage:
        if leased.body:
            return leased
        body = await through_outage(lambda: self._lines.body(leased.arrived))
        if body is None:
            raise ClaimLost
        return leased._replace(body=body)

    async def give_up(self, leased: LeasedMessage, code: str, reason: str) -> None:
        """Give up a message whose wait has ended.

        Raises:
            Unavailable: `unknown_key`, it cannot be opened or sealed now. Nothing was written.
        """
        with logs.bind(correlation_id=leased.correlation_id or ""), suppress(ClaimLost):
            settlement = GiveUp(code, reason)
            async with self._turn(leased, self._large_given_up):
                whole = await self._with_body(leased)
                message = received_of(whole)
                await self._give_up(whole, message, settlement)
            self._report(leased, message, settlement, 0.0, None)

    async def _run_once(self, leased: LeasedMessage) -> bool:
        """True: what it was to wait for is there already, so it is run again under its claim."""
        message = received_of(leased)
        started = time.perf_counter()
        error: Exception | None = None
        settlement: Settlement = Done()
        result = PutBackResult.WAITS
        try:
            await self._handle(leased, message)
        except ClaimLost:
            raise
        except Exception as raised:
            error = raised
            settlement = settlement_for(raised, leased.attempt, self._policy.retry)
            if not isinstance(settlement, GiveUp):
                result = await self._put_back(leased, settlement, raised)
                if result is PutBackResult.ENDED:
                    settlement = GiveUp(*code_and_reason(raised))
            if isinstance(settlement, GiveUp):
                try:
                    await self._give_up(leased, message, settlement)
                except Unavailable as unsealed:  # it is given up once its key is there again
                    error, settlement = unsealed, WaitForPerson(PERSON_S, None)
                    result = await self._put_back(leased, settlement, unsealed)
        self._report(leased, message, settlement, time.perf_counter() - started, error)
        # Its traceback leads back here: both would stay until the garbage collector comes by.
        error = None
        return result is PutBackResult.AGAIN

    async def _put_back(
        self, leased: LeasedMessage, settlement: Settlement, error: Exception
    ) -> PutBackResult:
        result = await self._putting_back.put_back(leased, settlement, error)
        if result is PutBackResult.LOST:
            raise ClaimLost from error
        return result

    async def _handle(self, leased: LeasedMessage, message: ReceivedMessage) -> None:
        parsed = self._just_accepted.take(
            MessageIdentity(leased.arrived, leased.org, leased.routing_key, leased.body_mac)
        )
        route = self._routes.find(message.exchange, message.routing_key)
        if route is None:  # leased for a neighbouring version
            raise Unavailable("this release has no handler for it", code="unknown_command")
        if leased.erased:
            raise PermanentError("the user asked to be forgotten", code=ERASED)
        _check_age(leased, route)
        if leased.attempt > self._policy.retry.max_attempts:
            # Each attempt before ended without a word: the process died.
            raise PermanentError("every attempt at it broke off", code="attempts_exhausted")
        if parsed is None:
            parsed = parse(route.model, await self._open(leased, message))
        occurred_at = parsed.occurred_at if isinstance(parsed, Command) else None
        for _ in range(self._policy.stale_reads):
            started = time.perf_counter()
            work = UnitOfWork(
                org=leased.org,
                received=message,
                claim=Claim(leased.arrived, leased.claim),
                attempt=leased.attempt,
                commit_early=self._commit_early,
            )
            spending = self._budget.spend(leased.reservations, leased.priority)
            with spending, happened_at(occurred_at):
                await route.handle(parsed, work)
            try:
                await self._commit(work)
            except StaleRead as stale:
                duration_s = time.perf_counter() - started
                self._report(leased, message, DecideAnew(), duration_s, stale)
            else:
                return
        raise Postponed("what it reads goes on changing", retry_after_s=_STALE_S, code="overtaken")

    async def _commit(self, work: UnitOfWork) -> None:
        # Zoho was asked: the result is kept through an outage. A lease that lapses meanwhile makes
        # the claim a lost one, and nothing is written twice.
        rows = await through_outage(lambda: self._committer.commit(work))
        # Not awaited: the slot is free for the next message while the broker confirms.
        self._publisher.send_soon(rows)

    async def _commit_early(self, work: UnitOfWork) -> None:
        part = work.split()
        self._publisher.send_soon(await through_outage(lambda: self._committer.commit(part)))

    async def _open(self, leased: LeasedMessage, message: ReceivedMessage) -> bytes:
        with unavailable_when_down():
            body = await self._vault.open_bytes(leased.body, leased.sealing_context)
            if message.headers.get(SEALED) == 1:
                body = await self._vault.open_bytes(body, sealing_context(message.message_id))
        return body

    async def _give_up(
        self, leased: LeasedMessage, message: ReceivedMessage, settlement: GiveUp
    ) -> None:
        code, reason = settlement.code, settlement.reason
        work = failure_of(
            self._service, message, code, reason, claim=leased.claim, body=leased.body_mac
        )
        work.claim = Claim(leased.arrived, leased.claim)
        work.outcome = MessageOutcome.GIVEN_UP
        if code != ERASED:  # of a user who asked to be forgotten, nothing is kept
            work.dead_letter = await self._dead_letter(leased, code, reason)
        await self._commit(work)

    async def _dead_letter(self, leased: LeasedMessage, code: str, reason: str) -> DeadLetter:
        make = self._dead_letters.of
        try:
            return await through_outage(lambda: make(leased, code, reason))
        except PermanentError:  # its body does not open, which may be why it is given up
            return await through_outage(lambda: make(leased, code, reason, body=b""))

    def _report(
        self,
        leased: LeasedMessage,
        message: ReceivedMessage,
        settlement: Settlement,
        duration_s: float,
        error: Exception | None,
    ) -> None:
        settled = Settled(message, settlement, duration_s, leased.attempt, error)
        for observer in self._observers:
            observer(settled)

    async def _give_back_calls(self, leased: LeasedMessage) -> None:
        if leased.reservations:
            # After the commit, in a statement of its own. Its deadline ends it otherwise.
            with suppress(Unavailable):
                await self._budget.give_back([*leased.reservations.values()])


def received_of(leased: LeasedMessage) -> ReceivedMessage:
    """The message as its handler sees it. Its body is sealed."""
    return ReceivedMessage(
        exchange=leased.exchange,
        routing_key=leased.routing_key,
        message_id=leased.message_id,
        org=leased.org,
        correlation_id=leased.correlation_id or "",
        body=leased.body,
        traceparent=leased.traceparent,
        reply_to=leased.reply_to,
        timestamp=leased.sent_at,
        headers=leased.headers,
    )


def _check_age(leased: LeasedMessage, route: Route) -> None:
    """A read that is older than its reply may live ends without a call: nobody waits for it."""
    if route.expires_s is None:
        return
    age = datetime.now(UTC) - leased.accepted_at
    if age.total_seconds() > route.expires_s:
        raise PermanentError("nobody waits for the answer any more", code="expired")
