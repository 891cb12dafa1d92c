"""Carry out what the class of the error says: release, retry later, give up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shared.errors import NotYetKnown, Postponed
from shared.messaging.consuming.attempt import Abandoned, Attempt, Handler
from shared.messaging.consuming.dead_lettering import DeadLettering
from shared.messaging.consuming.delayed_retry import DelayedRetry
from shared.messaging.consuming.waiting import TurnNotifier, retry_until_database_returns, wait_for
from shared.messaging.handling.policy import RetryPolicy
from shared.messaging.handling.settlement import Ack, DeadLetter, Retry, Settlement, settlement_for
from shared.messaging.inbox.inbox import ClaimRelease, Inbox
from shared.messaging.outbox.committer import ClaimLost
from shared.messaging.outbox.direct_publisher import DirectPublisher

Settle = Callable[[Attempt], Awaitable[Settlement]]


class Settler:
    """The end of every attempt. The delivery may be acknowledged once `settle` has returned."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        retries: DelayedRetry,
        giving_up: DeadLettering,
        outgoing: DirectPublisher,
        turns: TurnNotifier,
        policy: RetryPolicy,
    ) -> None:
        self._inbox = inbox
        self._retries = retries
        self._giving_up = giving_up
        self._outgoing = outgoing
        self._turns = turns
        self._policy = policy

    def settle(self, handle: Handler) -> Settle:
        """Run the chain until the message is done, given up, or on its way to a later try."""

        async def settled(attempt: Attempt) -> Settlement:
            while True:
                attempt.error = await _failure(handle, attempt)
                if attempt.error is None:
                    self._wake(attempt)
                    return Ack()
                settlement = settlement_for(attempt.error, attempt.number, self._policy)
                if await self._carry_out(attempt, settlement):
                    return settlement

        return settled

    async def _carry_out(self, attempt: Attempt, settlement: Settlement) -> bool:
        """False: it waited in place, and its turn is now."""
        if isinstance(settlement, Ack):
            return True
        if isinstance(settlement, DeadLetter):
            return await self._give_up(attempt, settlement)
        await self._release(attempt, unspent=not isinstance(settlement, Retry))
        if settlement.delay_s < self._policy.shortest_s and not await wait_for(
            attempt.send_back, settlement.delay_s
        ):
            if attempt.gone.is_set():
                raise Abandoned
            return False
        await self._retries.send_back(attempt, settlement.delay_s)
        return True

    async def _give_up(self, attempt: Attempt, settlement: DeadLetter) -> bool:
        try:
            rows = await retry_until_database_returns(
                lambda: self._giving_up.write(attempt, settlement.code, settlement.reason),
                attempt,
                claimed=attempt.claim is not None,
            )
        except ClaimLost as lost:
            # Another attempt decides. It comes again, and is claimed again, to see what became.
            attempt.claim = None
            return lost.settled
        await self._outgoing.send(rows)
        self._wake(attempt)
        return True

    async def _release(self, attempt: Attempt, *, unspent: bool) -> None:
        claim = attempt.claim
        if claim is None:
            return
        leave = isinstance(attempt.error, NotYetKnown)
        release = ClaimRelease(claim.key, claim.number, unspent, leave)
        await retry_until_database_returns(
            lambda: self._inbox.release(release), attempt, claimed=True
        )
        self._wake(attempt)
        attempt.claim = None

    def _wake(self, attempt: Attempt) -> None:
        if attempt.claim is not None:
            self._turns.wake_first((attempt.claim.key.org, attempt.claim.line))
            self._turns.wake_all(attempt.claim.key)


async def _failure(handle: Handler, attempt: Attempt) -> Exception | None:
    try:
        await handle(attempt)
    except Abandoned:
        raise
    except ClaimLost as lost:
        attempt.claim = None
        if lost.settled:
            return None
        return Postponed("another attempt has it", retry_after_s=5.0, code="claim_lost")
    except Exception as error:
        return error
    return None
