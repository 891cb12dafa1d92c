"""What arrives is stored in the order of its queue, whatever it is and whatever happens."""

from __future__ import annotations

import asyncio
import struct
from contextlib import AsyncExitStack

import pytest

from shared.messaging.handling.settlement import Done
from shared.messaging.inbox.acceptance import ArrivedMessage
from shared.messaging.intake.handover import GIVEN_UP_AT_DEATHS
from shared.messaging.messages.decode import Arrival
from tests.shared.messaging.conftest import Bench, named
from tests.shared.messaging.raw_publisher import (
    CORRELATION_ID,
    EXPIRATION,
    HEADERS,
    MESSAGE_ID,
    REPLY_TO,
    TIMESTAMP,
    publish_raw,
    short,
    table,
)

KEY = b"user.updated.v1"


def body(name: str, user_id: str = "u1") -> bytes:
    return named(name, user_id).model_dump_json(exclude_unset=True).encode()


@pytest.mark.parametrize(
    "odd",
    [
        {TIMESTAMP: struct.pack(">Q", 1_700_000_000_000_000)},
        {TIMESTAMP: struct.pack(">Q", 2**64 - 1)},
        {CORRELATION_ID: short("Größe".encode("latin-1"))},
        {REPLY_TO: short(b"\xff\xfe")},
        {HEADERS: table(short(b"h\xe4") + b"S" + struct.pack(">I", 1) + b"x")},
        {HEADERS: table(short(b"at") + b"T" + struct.pack(">Q", 2**63))},
        {HEADERS: table(short(b"odd") + b"S" + struct.pack(">I", 2) + b"\xff\0")},
    ],
    ids=[
        "microseconds",
        "beyond all time",
        "Latin-1 correlation id",
        "bytes in reply_to",
        "Latin-1 header name",
        "a header beyond all time",
        "bytes in a header",
    ],
)
async def test_properties_that_no_library_reads_harm_no_neighbour(
    bench: Bench, amqp_url: str, odd: dict[int, bytes]
) -> None:
    messaging = await bench.start()
    connection = messaging._intake_link._connection

    await bench.send(named("before", "u1"))
    await publish_raw(amqp_url, KEY, body("odd", "u2"), {MESSAGE_ID: short(b"odd"), **odd})
    await bench.send(named("after", "u3"))

    while not {"before", "after"} <= set(await bench.handled()):
        assert await bench.next_settlement() == Done()
    assert messaging._intake_link._connection is connection


async def test_a_timestamp_in_microseconds_is_given_up_under_the_message_s_own_name(
    bench: Bench, amqp_url: str
) -> None:
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")
    timestamp = struct.pack(">Q", 1_700_000_000_000_000_000)

    await publish_raw(amqp_url, KEY, body("Ada"), {MESSAGE_ID: short(b"m1"), TIMESTAMP: timestamp})

    event = await failed.next_body()
    assert (event["message_id"], event["code"]) == ("m1", "invalid_message")
    letter = await bench.dead_letter()
    assert letter.headers["x-raw-timestamp"] == 1_700_000_000_000_000_000


async def test_what_expires_in_the_queue_is_accounted_for(bench: Bench, amqp_url: str) -> None:
    async with AsyncExitStack() as stack:
        await bench.start(stack=stack)
    properties = {MESSAGE_ID: short(b"m1"), EXPIRATION: short(b"0")}
    await publish_raw(amqp_url, KEY, body("Ada"), properties)
    failed = await bench.listen(key="command.failed.v1")

    await bench.start()

    event = await failed.next_body()
    assert (event["message_id"], event["code"]) == ("m1", "expired")
    assert (await bench.dead_letter()).routing_key == "user.updated.v1"


async def test_headers_beyond_the_bound_are_dropped(bench: Bench) -> None:
    await bench.start()

    await bench.send(named("Ada"), headers={f"h{n}": "x" * 5000 for n in range(25)})

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada"]


async def test_the_order_of_the_queue_survives_an_outage_of_the_database(bench: Bench) -> None:
    await bench.start()
    await bench.start()
    await bench.parts.database.down()
    for n in range(30):
        await bench.send(named(f"n{n:02}"))

    await bench.parts.database.up()

    assert [await bench.next_settlement() for _ in range(30)] == [Done()] * 30
    assert await bench.handled() == [f"n{n:02}" for n in range(30)]


async def test_the_order_of_the_queue_survives_a_hand_over(bench: Bench) -> None:
    """The active replica stops in the middle, and a standby goes on behind it."""
    async with AsyncExitStack() as stack:
        await bench.start(stack=stack)
        await bench.start()
        for n in range(60):
            await bench.send(named(f"n{n:02}"))
            if n == 30:
                stopping = asyncio.create_task(stack.pop_all().aclose())
        await stopping

    assert [await bench.next_settlement() for _ in range(60)] == [Done()] * 60
    assert await bench.handled() == [f"n{n:02}" for n in range(60)]


async def test_a_message_that_kills_its_process_is_given_up_and_its_neighbours_are_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths = 0
    messaging = await bench.start()
    validation = messaging._consumers[0]._handover._validation
    read = validation.read

    async def read_or_die(arrival: Arrival, *, unrouted: bool = False) -> ArrivedMessage:
        nonlocal deaths
        if b"killer" in arrival.message.body:
            deaths += 1
            # As when the process is killed: its connection ends, and nothing is acknowledged.
            connection = messaging._intake_link._connection
            assert connection is not None
            await connection.close()
            await asyncio.Event().wait()
        return await read(arrival, unrouted=unrouted)

    monkeypatch.setattr(validation, "read", read_or_die)
    failed = await bench.listen(key="command.failed.v1")
    for n in range(5):
        await bench.send(named(f"n{n}", f"u{n}"))
    await bench.send(named("killer", "u9"), message_id="killer")
    for n in range(5, 10):
        await bench.send(named(f"n{n}", f"u{n}"))

    event = await failed.next_body(60)
    assert (event["message_id"], event["code"]) == ("killer", "attempts_exhausted")
    assert [await bench.next_settlement() for _ in range(10)] == [Done()] * 10
    assert sorted(await bench.handled()) == [f"n{n}" for n in range(10)]
    assert deaths <= GIVEN_UP_AT_DEATHS + 1
    assert await bench.open_messages() == 0
