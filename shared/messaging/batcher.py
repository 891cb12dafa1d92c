"""Collect what waits while the previous flush runs, then flush all of it as one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from shared.errors import Unavailable

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class Batcher(Generic[ItemT, ResultT]):
    """`await batcher.run(item)`: one result per item, as if it had been flushed alone.

    An idle batcher flushes at once, a busy one when the previous flush is done and `gather_s` has
    passed: what travels together stays together, and a group costs hardly more than an item.
    The group fails as one only when the other side is away (`Unavailable`). Any other failure is
    narrowed down by flushing its items one by one, so that a poisoned one harms no other.

    Args:
        flush: given a group, returns one result per item, in order.
        limit: the largest group.
        gather_s: how long a busy one waits for more. A lone item never waits.
    """

    def __init__(
        self,
        name: str,
        flush: Callable[[list[ItemT]], Awaitable[Sequence[ResultT]]],
        *,
        limit: int = 100,
        gather_s: float = 0.0,
    ) -> None:
        self._name = name
        self._flush = flush
        self._limit = limit
        self._gather_s = gather_s
        self._last = 0
        self._waiting: deque[tuple[ItemT, asyncio.Future[ResultT]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def run(self, item: ItemT) -> asyncio.Future[ResultT]:
        """Queue the item. A caller that stops waiting does not take the item back."""
        result: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, result))
        if self._task is None:
            self._task = asyncio.create_task(self._flush_all(), name=self._name)
        return result

    async def idle(self) -> None:
        """Return once nothing waits and nothing is being flushed."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                if self._gather_s and max(self._last, len(self._waiting)) > 1:
                    await asyncio.sleep(self._gather_s)
                count = self._last = min(self._limit, len(self._waiting))
                await self._flush_group([self._waiting.popleft() for _ in range(count)])
        finally:
            self._task = None
            for _, result in self._waiting:  # only when this task was cancelled
                result.cancel()
            self._waiting.clear()

    async def _flush_group(self, group: list[tuple[ItemT, asyncio.Future[ResultT]]]) -> None:
        try:
            results = await self._flush([item for item, _ in group])
        except Exception as error:
            if len(group) == 1 or isinstance(error, Unavailable):
                for _, future in group:
                    _fail(future, error)
                return
            for single in group:
                await self._flush_group([single])
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():
                    future.set_result(result)


def _fail(future: asyncio.Future[ResultT], error: Exception) -> None:
    if future.done():
        return
    future.set_exception(error)
    future.exception()  # seen, even when the caller has gone
