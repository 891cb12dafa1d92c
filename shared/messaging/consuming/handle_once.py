"""Handle each message once and in its turn, however often and however fast it is delivered."""

from __future__ import annotations

import time

from shared.crypto.blind_index import BlindIndex
from shared.errors import InLine, NotYetKnown, PermanentError, Postponed, Unavailable
from shared.messaging.consuming.attempt import Attempt, Handler
from shared.messaging.consuming.queue_uptime import QueueUptime
from shared.messaging.consuming.waiting import (
    BoundedWaiters,
    TurnNotifier,
    WaitSlot,
    retry_until_database_returns,
)
from shared.messaging.handling.policy import MessagingPolicy
from shared.messaging.handling.unit_of_work import InboxUpdate, UnitOfWork
from shared.messaging.inbox.inbox import Claim, ClaimOutcome, ClaimRequest, Inbox
from shared.messaging.inbox.lease_renewal import LeaseRenewal
from shared.messaging.inbox.ordering_key import ordering_key_of
from shared.messaging.outbox.committer import Committer
from shared.messaging.outbox.direct_publisher import DirectPublisher

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 0.5


class OnceAndInTurn:
    """Claims; runs the handler under the claim; commits its unit of work; publishes it."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        leases: LeaseRenewal,
        committer: Committer,
        outgoing: DirectPublisher,
        turns: TurnNotifier,
        digest: BlindIndex,
        reading: QueueUptime,
        policy: MessagingPolicy,
    ) -> None:
        self._inbox = inbox
        self._leases = leases
        self._committer = committer
        self._outgoing = outgoing
        self._turns = turns
        self._digest = digest
        self._reading = reading
        self._policy = policy
        self._rooms: dict[str, BoundedWaiters] = {}

    def handle_once(self, handle: Handler) -> Handler:
        """Nothing happens to a message that is done or given up."""

        async def once(attempt: Attempt) -> None:
            claim = await self._claim_in_turn(attempt)
            if claim.outcome in (ClaimOutcome.DONE, ClaimOutcome.GIVEN_UP):
                return
            attempt.claim = claim
            self._leases.hold(claim)
            try:
                await self._handle(attempt, claim, handle)
            finally:
                self._leases.drop(claim)

        return once

    async def _handle(self, attempt: Attempt, claim: Claim, handle: Handler) -> None:
        if claim.erased:
            raise PermanentError("the user asked to be forgotten", code="erased")
        if claim.attempt > self._policy.retry.max_attempts:
            # Each attempt before ended without a word: the process died.
            raise PermanentError("every attempt at it broke off", code="attempts_exhausted")
        settling = InboxUpdate(claim.key, claim.number)
        attempt.work = UnitOfWork(
            org=claim.key.org,
            delivery=attempt.delivery,
            arrived=claim.arrived,
            attempt=claim.attempt,
            settling=settling,
        )
        try:
            await handle(attempt)
        except NotYetKnown as error:
            waited_s = min(claim.waited_s, self._reading.all_for_s())
            if waited_s >= self._policy.unknown_user_wait_s:
                raise PermanentError(error.reason, code=error.code) from error
            raise
        work = attempt.work
        rows = await retry_until_database_returns(
            lambda: self._committer.commit(work), attempt, claimed=True
        )
        await self._outgoing.send(rows)

    async def _claim_in_turn(self, attempt: Attempt) -> Claim:
        """Claim it, waiting a little where it is while another attempt or command is before it.

        Raises:
            InLine, Postponed: it is not its turn yet.
            PermanentError: `message_id_reused`.
        """
        request = self._request(attempt)
        deadline = time.monotonic() + self._policy.wait_in_line_s
        pause_s = _FIRST_PAUSE_S
        seat: WaitSlot | None = None
        try:
            while True:
                claim = await retry_until_database_returns(
                    lambda: self._inbox.claim(request), attempt, claimed=False
                )
                if claim.outcome is ClaimOutcome.REUSED:
                    raise PermanentError(
                        "this message_id was used with another body", code="message_id_reused"
                    )
                if claim.outcome not in (ClaimOutcome.HELD, ClaimOutcome.IN_LINE):
                    return claim
                seat = seat or self._room(attempt).seat(claim.arrived)
                left_s = deadline - time.monotonic()
                if seat is None or seat.lost or left_s <= 0 or attempt.send_back.is_set():
                    raise _not_now(claim, self._policy.retry.shortest_s)
                await self._wait(claim, min(pause_s, left_s))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        finally:
            if seat is not None:
                self._room(attempt).leave(seat)

    def _room(self, attempt: Attempt) -> BoundedWaiters:
        """At most half of the prefetch waits, so that other lines go on."""
        queue = attempt.delivery.queue
        if queue not in self._rooms:
            self._rooms[queue] = BoundedWaiters(max(1, attempt.lane.prefetch // 2))
        return self._rooms[queue]

    async def _wait(self, claim: Claim, pause_s: float) -> None:
        what = (claim.key.org, claim.line) if claim.outcome is ClaimOutcome.IN_LINE else claim.key
        await self._turns.wait(what, claim.arrived, pause_s)

    def _request(self, attempt: Attempt) -> ClaimRequest:
        delivery = attempt.delivery
        line = ordering_key_of(attempt.message, delivery.org, self._digest)
        replay = delivery.headers.get("x-relay-replay")
        return ClaimRequest(
            attempt.key,
            delivery.exchange,
            b"".join(self._digest.macs("body", attempt.body)),
            lined=line.lined,
            user_id=line.user_id,
            fallback=line.fallback,
            named=line.named,
            names=line.names,
            replay=None if replay is None else str(replay),
            # Erasing goes on after the tombstone, which is its own first step.
            exempt=delivery.routing_key == "user.erasure_requested.v1",
        )


def _not_now(claim: Claim, wait_s: float) -> Postponed:
    if claim.outcome is ClaimOutcome.IN_LINE:
        return InLine("an earlier command of the same subject is not done", retry_after_s=wait_s)
    return Postponed("another attempt is at it", retry_after_s=wait_s, code="held")


async def call_handler(attempt: Attempt) -> None:
    """The innermost: the route's own handler."""
    if attempt.route is None or attempt.work is None:
        # Bound by a neighbouring version of this service, which will get it in its turn.
        raise Unavailable("this release has no handler for it", code="unknown_command")
    await attempt.route.handle(attempt.message, attempt.work)
