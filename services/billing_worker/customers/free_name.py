"""Repeat a write under another display name while Zoho says that the name is taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shared.errors import ZohoRejected

ResultT = TypeVar("ResultT")


async def with_free_name(
    names: Sequence[str], write: Callable[[str], Awaitable[ResultT]]
) -> ResultT:
    """Write under the first of `names` that is free. A refusal of the last one is raised."""
    for name in names[:-1]:
        try:
            return await write(name)
        except ZohoRejected as error:
            if error.code != "zoho_duplicate":
                raise
    return await write(names[-1])
