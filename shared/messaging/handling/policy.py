"""Keep the numbers of messaging in one place: attempts, waits, leases and bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from shared.settings import ConsumerSettings


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and the waits between them.

    `backoff` is the wait after the first, second, … failed attempt, and the last one repeats.
    """

    max_attempts: int = 12
    backoff: tuple[float, ...] = (5.0, 5.0, 60.0, 60.0, 900.0, 900.0, 10_800.0)

    def backoff_s(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt` (1 is the first) failed."""
        return self.backoff[min(attempt, len(self.backoff)) - 1]


@dataclass(frozen=True, slots=True)
class WaitPolicy:
    """The ends of waits, in seconds. Only time in which a wait could have ended counts.

    Args:
        fact_s: the end of a wait for a fact, by the fact's kind. `other_facts_s` for the rest.
        look_again_s: the end of a wait that looks again, `looks_every_s` at the longest.
        time_s: the end of a wait for time that never spends an attempt.
        release_s: the end of a wait for a version that knows the routing key.
        factor: after so many times its length a wait ends, counted or not.
    """

    fact_s: Mapping[str, float] = field(default_factory=dict)
    other_facts_s: float = 900.0
    look_again_s: float = 6 * 3600.0
    looks_every_s: float = 900.0
    time_s: float = 7 * 86_400.0
    release_s: float = 86_400.0
    factor: float = 10.0

    @classmethod
    def of(cls, settings: ConsumerSettings) -> Self:
        """The ends that a service's settings ask for."""
        return cls(
            fact_s={
                "user": settings.unknown_user_wait,
                "contact": settings.contact_wait_s,
                "invoice": settings.invoice_wait_s,
            },
            other_facts_s=settings.other_facts_wait_s,
            look_again_s=settings.look_again_wait_s,
            time_s=settings.time_wait_s,
            release_s=settings.release_wait_s,
        )


@dataclass(frozen=True, slots=True)
class MessagingPolicy:
    """What a service may set. All times in seconds.

    Args:
        slots: how many messages a process works on at once.
        lease_s: a lease is renewed four times within it while a handler lives. The messages of a
            killed or frozen process wait for so long until another replica takes them over.
        drain_timeout_s: how long a stopping service lets handlers finish.
        stale_reads: how often a unit whose read has become stale is done anew at once.
        stands_s: when intake or the dispatcher gets nothing done for so long though it should, the
            service is not ready.
        open_rows, open_bytes: beyond these intake stops taking, with an alert. Rows that wait for a
            fact or a person do not count, and have a bound of their own, ten times as high.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    waits: WaitPolicy = field(default_factory=WaitPolicy)
    slots: int = 32
    lease_s: float = 4.0
    outbox_lease_s: float = 30.0
    drain_timeout_s: float = 30.0
    relay_poll_s: float = 1.0
    stale_reads: int = 5
    stands_s: float = 60.0
    open_rows: int = 200_000
    open_bytes: int = 4 * 1024**3
    dead_letter_days: float = 30.0
    known_orgs: frozenset[str] = frozenset({"default"})

    @classmethod
    def of(cls, settings: ConsumerSettings) -> Self:
        """The policy that a service's settings ask for."""
        return cls(
            retry=RetryPolicy(max_attempts=settings.max_attempts),
            waits=WaitPolicy.of(settings),
            slots=settings.slots,
            lease_s=settings.lease_s,
            drain_timeout_s=settings.drain_timeout_s,
            open_rows=settings.intake_open_messages,
            open_bytes=settings.intake_open_bytes,
            dead_letter_days=settings.dead_letter_days,
        )
