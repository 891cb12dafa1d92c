"""Compute waits that double up to a limit and are spread by jitter, on the package `backoff`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import backoff


def waits_s(first_s: float, longest_s: float) -> Iterator[float]:
    """Yield waits in seconds without end: from `first_s`, doubling up to `longest_s`, jittered."""
    return map(jittered_s, _doubling(first_s, longest_s))


def wait_s(failures: int, first_s: float, longest_s: float) -> float:
    """Return the wait in seconds after this many earlier failures (0: none), jittered."""
    return jittered_s(next(islice(_doubling(first_s, longest_s), failures, None)))


def jittered_s(seconds: float) -> float:
    """Return between a half and all of it, so that replicas do not act in step."""
    return seconds / 2 + backoff.full_jitter(seconds / 2)


def lengthened_s(seconds: float) -> float:
    """Return the wait lengthened by up to a half: it is the least, and replicas come one by one."""
    return seconds + backoff.full_jitter(seconds / 2)


def _doubling(first_s: float, longest_s: float) -> Iterator[float]:
    waits = backoff.expo(base=2, factor=first_s, max_value=longest_s)
    next(waits)  # the package's own decorators start its generators with `send(None)`
    return waits
