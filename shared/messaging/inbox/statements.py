"""Build the arguments of the inbox's functions in the database."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any


def parameters(count: int) -> str:
    """`$1, $2, …`, as many as a function takes."""
    return ", ".join(f"${number}" for number in range(1, count + 1))


def columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Rows as parallel arrays, for unnest. `width` empty ones when there are no rows."""
    flat = list(chain.from_iterable(rows))
    return [flat[at::width] for at in range(width)]
