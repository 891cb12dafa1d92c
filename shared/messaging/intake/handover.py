"""Pass what the broker delivers to the inbox, in the order of the queue."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar
from uuid import UUID, uuid4

import structlog

from shared.errors import Unavailable
from shared.exponential_backoff import waits_s
from shared.messaging.inbox.acceptance import Acceptance, AcceptResult, RowFault
from shared.messaging.inbox.arrived_message import ArrivedMessage
from shared.messaging.inbox.suspects import Suspects
from shared.messaging.intake.validation import Validation
from shared.messaging.messages.decode import Arrival

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0

ALONE_FROM_DELIVERY: Final = 3
"""From this delivery on a message is taken alone: it may be what killed the process before."""

GIVEN_UP_AT_DEATHS: Final = 5

_TAKE_BACK_S: Final = 2.0


class Unanswered(Exception):
    """An INSERT got no answer, although the database answers others: hand the queue over."""


class Handover:
    """Stores groups of arrivals. A call returns once all of the group is durable.

    Args:
        answers: whether a second connection to the database answers now.
        unanswered_s: how long one INSERT may take.
    """

    def __init__(
        self,
        validation: Validation,
        acceptance: Acceptance,
        suspects: Suspects,
        *,
        answers: Callable[[], Awaitable[bool]],
        unanswered_s: float = 10.0,
        observe: Callable[[AcceptResult, int], None] = lambda _result, _count: None,
    ) -> None:
        self._validation = validation
        self._acceptance = acceptance
        self._suspects = suspects
        self._answers = answers
        self._unanswered_s = unanswered_s
        self._observe = observe
        self._taking_back: set[asyncio.Task[None]] = set()

    async def store(self, group: Sequence[Arrival], *, unrouted: bool = False) -> None:
        """Store all of the group, in its order, waiting through an outage of the database.

        Cancelled while it waits, it has stored nothing or all, and a repetition is harmless.
        Raises:
            Unanswered: the database answers others.
        """
        await self._accept(await self._through_outage(lambda: self._read(group, unrouted=unrouted)))

    async def store_suspect(
        self,
        arrival: Arrival,
        *,
        unrouted: bool = False,
        is_held: Callable[[], bool] = lambda: True,
    ) -> None:
        """Store one that may have killed the processes which took it. Give it up at five deaths.

        The try is counted before the message is touched, and all tries are forgotten once it is
        stored. A try is taken back when it ends otherwise than in a death: without an answer, or
        cancelled although its delivery `is_held`.
        Raises:
            Unanswered: as `store`.
        """
        digest, this_try = digest_of(arrival), uuid4()
        try:
            deaths = await self._through_outage(lambda: self._suspects.note(digest, this_try))
            if deaths >= GIVEN_UP_AT_DEATHS:
                await self._give_up_suspect(arrival, deaths)
            else:
                await self.store([arrival], unrouted=unrouted)
            await self._through_outage(lambda: self._suspects.clear(digest))
        except Unanswered:
            await self._take_back(digest, this_try)
            raise
        except asyncio.CancelledError:
            if is_held():
                await self._take_back(digest, this_try)
            raise

    async def _give_up_suspect(self, arrival: Arrival, deaths: int) -> None:
        reason = "the process died at every attempt to take it"
        _log.error("a message that kills its process is given up", deaths=deaths)
        given_up = await self._through_outage(
            lambda: self._validation.given_up(arrival.message, "attempts_exhausted", reason)
        )
        await self._accept([given_up])

    async def _take_back(self, digest: bytes, this_try: UUID) -> None:
        """Wait a moment for it. A silent database is asked until it answers, in the background."""
        task = asyncio.create_task(
            self._through_outage(lambda: self._suspects.take_back(digest, this_try)),
            name="take back a try",
        )
        self._taking_back.add(task)
        task.add_done_callback(self._taking_back.discard)
        await asyncio.wait([task], timeout=_TAKE_BACK_S)

    async def _read(self, group: Sequence[Arrival], *, unrouted: bool) -> list[ArrivedMessage]:
        return [await self._validation.read(arrival, unrouted=unrouted) for arrival in group]

    async def _accept(self, messages: list[ArrivedMessage]) -> None:
        """Store them. A row that the database refuses is found by halving, and given up."""
        try:
            results = await self._through_outage(lambda: self._answered(messages))
        except RowFault as fault:
            if len(messages) > 1:
                middle = len(messages) // 2
                await self._accept(messages[:middle])
                await self._accept(messages[middle:])
                return
            await self._give_up_faulty(messages[0], fault)
            return
        for result, count in Counter(results).items():
            self._observe(result, count)

    async def _give_up_faulty(self, message: ArrivedMessage, fault: RowFault) -> None:
        _log.error(
            "the database refuses a message", routing_key=message.routing_key, state=fault.sqlstate
        )
        plain = await self._through_outage(
            lambda: self._validation.refused_by_database(message, fault.sqlstate)
        )
        await self._through_outage(lambda: self._answered([plain]))

    async def _answered(self, messages: list[ArrivedMessage]) -> list[AcceptResult]:
        accepting = asyncio.ensure_future(self._acceptance.accept(messages))
        try:
            done, _ = await asyncio.wait([accepting], timeout=self._unanswered_s)
            if done:
                return accepting.result()
            if await self._answers():
                raise Unanswered
            return await accepting
        finally:
            accepting.cancel()

    async def _through_outage(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Repeat until the database answers. Nothing is taken or acknowledged meanwhile."""
        reported = False
        pauses_s = waits_s(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        while True:
            try:
                return await operation()
            except Unavailable as error:
                if not reported:
                    reported = True
                    _log.warning("what arrives is not stored, trying again", code=error.code)
            await asyncio.sleep(next(pauses_s))


def digest_of(arrival: Arrival) -> bytes:
    """What a message is recognised by before anything of it is parsed."""
    message = arrival.message
    digest = hashlib.sha256()
    for part in (message.routing_key.encode(), message.message_id.encode(), message.body):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
