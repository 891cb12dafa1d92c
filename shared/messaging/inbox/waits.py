"""End the waits that nothing ends, and wake what waits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import asyncpg

from shared.messaging.inbox.lines import LeasedMessage


@dataclass(frozen=True, slots=True)
class WaitLengths:
    """When waits for a fact, or for a version that knows the message, end.

    Args:
        facts_s: by kind of fact, in counted seconds; `other_facts_s` for the others.
        releases_s: for a version that knows the routing key, or a ring that has the key.
        longest: after so many times its length a wait ends, counted or not.
    """

    other_facts_s: float
    releases_s: float
    facts_s: Mapping[str, float] = field(default_factory=dict)
    longest: float = 10.0


@dataclass(frozen=True, slots=True)
class WaitHolds:
    """What keeps the ends of waits from counting now.

    Args:
        intake_behind: what would end a wait may not be accepted yet.
        paused: by organization, the kinds of facts whose product is paused.
        recorders: by kind of fact, the routes that may record it.
        same_line: kinds that are recorded only by messages of the waiting message's own line.
    """

    intake_behind: bool = False
    paused: Collection[tuple[str, str]] = ()
    recorders: Mapping[str, Collection[str]] = field(default_factory=dict)
    same_line: Collection[str] = ()


class WaitEnds:
    """The ends of waits of one service's schema."""

    def __init__(self, pool: asyncpg.Pool, schema: str, lengths: WaitLengths) -> None:
        raise NotImplementedError

    async def end_due(self, holds: WaitHolds, *, limit: int = 64) -> list[LeasedMessage]:
        """Count the waits that are due to be counted; returns messages to be given up.

        Each has a claim and the code and reason to give it up under. Not settled within a minute,
        it is returned again. Call it every second or so, in any number of replicas.
        """
        raise NotImplementedError


class Facts:
    """Facts recorded outside of a settlement."""

    def __init__(self, schema: str) -> None:
        raise NotImplementedError

    async def record(
        self,
        connection: asyncpg.pool.PoolConnectionProxy,
        org: str,
        facts: Collection[tuple[str, str]],
    ) -> None:
        """Wake who waits for these facts (kind, key), in the transaction that makes them so."""
        raise NotImplementedError
