"""Put a proxy before RabbitMQ that makes it seem too busy to count."""

from __future__ import annotations

import asyncio
import math
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

# AMQP 0-9-1, 2.3.5: type, channel, size. Then the payload and an octet that ends it.
HEADER = struct.Struct(">BHI")
METHOD = 1
QUEUE_DECLARE_OK = struct.pack(">HH", 50, 11)
NOTHING = bytes(8)  # the two counts that end a declare-ok: messages, consumers


@asynccontextmanager
async def busy_broker(amqp_url: str, *, times: float = math.inf) -> AsyncIterator[str]:
    """The URL of one that says, the first `times` that it is asked about a queue, 0 and 0.

    So does RabbitMQ when the leader of a quorum queue does not answer within 250 ms: stat/2 in
    rabbit_quorum_queue.erl.
    """
    parts, asked = urlsplit(amqp_url), Counter[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(parts.hostname, parts.port)
        with suppress(OSError, asyncio.IncompleteReadError):
            await asyncio.gather(_pass_on(reader, far_writer), _answer(far_reader, writer))
        for end in (writer, far_writer):
            end.close()

    async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            header = await reader.readexactly(HEADER.size)
            kind, _, size = HEADER.unpack(header)
            payload = await reader.readexactly(size)
            if kind == METHOD and payload.startswith(QUEUE_DECLARE_OK):
                queue = payload[: -len(NOTHING)]
                asked[queue] += 1
                if asked[queue] <= times:
                    payload = queue + NOTHING
            writer.write(header + payload + await reader.readexactly(1))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        user, port = parts.netloc.rpartition("@")[0], server.sockets[0].getsockname()[1]
        yield parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
