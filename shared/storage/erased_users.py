"""Recognize that PostgreSQL refused what is about a user who asked to be forgotten."""

from __future__ import annotations

from types import TracebackType
from typing import Final

import asyncpg

from shared.errors import PermanentError

_REFUSED: Final = "ZR004"


def raise_if_erased(error: asyncpg.PostgresError) -> None:
    """Raise `PermanentError` (`erased`) when a trigger or a check has found a tombstone."""
    if error.sqlstate == _REFUSED:
        raise PermanentError("the user asked to be forgotten", code="erased") from error


class _RefusedWhenErased:
    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, asyncpg.PostgresError):
            raise_if_erased(error)


def refused_when_erased() -> _RefusedWhenErased:
    """Turn the refusal of a row of an erased user into `PermanentError` (`erased`).

    For statements outside of a unit of work. The committer does it for its own.
    """
    return _RefusedWhenErased()
