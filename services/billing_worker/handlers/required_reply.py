"""Refuse a command that only makes sense with a reply, before any call is spent on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.contracts.commands import Command
from shared.errors import PermanentError
from shared.messaging.handling.routes import READ_EXPIRES_S, MessagePriority, Route
from shared.messaging.handling.unit_of_work import UnitOfWork

CommandT = TypeVar("CommandT", bound=Command)


def answered(
    model: type[CommandT],
    handle: Callable[[CommandT, UnitOfWork], Awaitable[None]],
    *,
    product: str,
) -> Route:
    """The route of a command whose only result is its reply, read from this product.

    Without `reply_to` it is given up with `reply_to_missing`. Once a reply would have expired, it
    ends without a call.
    """

    async def checked(message: CommandT, work: UnitOfWork) -> None:
        if work.received is None or not work.received.reply_to:
            raise PermanentError(
                "this command is only answered, and names no reply_to", code="reply_to_missing"
            )
        await handle(message, work)

    return Route(
        model,
        checked,
        priority=MessagePriority.READS,
        calls={product: 1},
        expires_s=READ_EXPIRES_S,
    )
