"""How often, how long, how much: the numbers of messaging, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from shared.settings import ConsumerSettings


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts and the waits between them.

    `delays` are the delayed-retry queues by name, shortest first, in seconds; a wait is rounded up
    to one of them. Waits shorter than the shortest are waited in place. `backoff` is the wait after
    the first, second, … failed attempt; the last one repeats.
    """

    max_attempts: int = 8
    delays: tuple[tuple[str, float], ...] = (
        ("5s", 5.0),
        ("1m", 60.0),
        ("15m", 900.0),
        ("3h", 10_800.0),
    )
    backoff: tuple[float, ...] = (5.0, 5.0, 60.0, 60.0, 900.0, 900.0, 10_800.0)

    @property
    def shortest_s(self) -> float:
        return self.delays[0][1]

    def backoff_s(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt` (1 is the first) failed."""
        return self.backoff[min(attempt, len(self.backoff)) - 1]

    def queue_for(self, delay_s: float) -> str:
        """The name of the shortest delay that is not shorter than `delay_s`, else the longest."""
        for name, seconds in self.delays:
            if delay_s <= seconds:
                return name
        return self.delays[-1][0]


@dataclass(frozen=True, slots=True)
class MessagingPolicy:
    """What a service may set. All times in seconds.

    A lease is renewed every third of `lease_s` while a handler lives; it is also the longest time
    that a message of a killed process waits. `drain_timeout_s`: how long a stopping service lets
    handlers finish. `unknown_user_wait_s`: UNKNOWN_USER_WAIT.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    lease_s: float = 30.0
    outbox_lease_s: float = 30.0
    wait_in_line_s: float = 20.0
    unknown_user_wait_s: float = 900.0
    drain_timeout_s: float = 30.0
    relay_poll_s: float = 1.0
    dead_letters_kept_s: float = 30 * 86_400.0
    known_orgs: frozenset[str] = frozenset({"default"})

    @classmethod
    def of(cls, settings: ConsumerSettings) -> Self:
        """The policy that a service's settings ask for."""
        return cls(
            retry=RetryPolicy(max_attempts=settings.max_attempts),
            lease_s=settings.lease_s,
            unknown_user_wait_s=settings.unknown_user_wait,
            drain_timeout_s=settings.drain_timeout_s,
            dead_letters_kept_s=settings.dead_letter_days * 86_400.0,
        )
