"""Refuse a broker that still has the queues of a version before 0.1.0.

Nobody would take from them any more, while they stay bound and go on filling.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

import aio_pika
from aio_pika.abc import AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity

from shared.errors import CannotStart

_WORK: Final = ("urgent", "commands", "reads", "webhooks", "events")
_DELAYS: Final = ("5s", "1m", "15m", "3h")
_ADVICE: Final = (
    "messages in them are not taken over. With `make up`: run `make down`, then remove the folder"
    " .run/. With containers: `docker compose down --volumes`. Elsewhere: let the former version"
    " empty them, then delete them"
)


class FormerQueues(CannotStart):
    """The broker has queues of a version before 0.1.0, which this one does not know."""

    code = "former_queues"


async def refuse_former_queues(connection: AbstractConnection, service: str) -> None:
    """Look for the queues that former versions of this service declared. None is changed.

    Raises:
        FormerQueues: there are some. The message names them.
    """
    url = cast("aio_pika.Connection", connection).url
    # Elsewhere and one by one: the client library may reuse the number of a channel that the broker
    # has closed too early, which costs the whole connection.
    async with asyncio.timeout(30), await aio_pika.connect(url) as own:
        former = [name for name in _names(service) if await _exists(own, name)]
    if former:
        raise FormerQueues(
            f"RabbitMQ has queues of an earlier version ({', '.join(former)}): {_ADVICE}"
        )


def _names(service: str) -> list[str]:
    work = ["unrouted", *(f"{service}.{kind}" for kind in _WORK)]
    return [
        *(name for queue in work for name in (queue, f"{queue}.dead")),
        *(f"{service}.retry.{delay}" for delay in _DELAYS),
    ]


async def _exists(connection: AbstractConnection, name: str) -> bool:
    # A channel of its own, because the broker closes it when there is no such queue.
    channel = await connection.channel(publisher_confirms=False)
    try:
        await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True
