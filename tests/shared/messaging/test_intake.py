"""What arrives is stored in the order of its queue, whatever it is and whatever happens."""

from __future__ import annotations

import asyncio
import struct
from contextlib import AsyncExitStack
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from shared.contracts.commands import UserUpdated
from shared.errors import Unavailable
from shared.messaging.broker.deliveries import Deliveries, Failed, Take
from shared.messaging.handling.settlement import Done
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.arrived_message import ArrivedMessage
from shared.messaging.intake import consumer
from shared.messaging.intake.handover import GIVEN_UP_AT_DEATHS
from shared.messaging.messages import decode as messages_decode
from shared.messaging.messages.decode import Arrival, decode
from tests.shared.messaging.conftest import Bench, named, note, quicker, until
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


async def test_headers_beyond_the_bound_are_dropped_and_counted(bench: Bench) -> None:
    """At 130 kB, ours beside them would not fit the frame in which they came."""
    await bench.start()
    events = await bench.listen(key="noted.v1")

    await bench.send(named("Ada"), headers={f"h{n}": "x" * 5000 for n in range(25)})

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada"]
    assert (await events.next_body())["note"] == "Ada"
    assert _dropped(bench) == 22


async def test_a_traceparent_beyond_the_bound_is_not_carried_on(bench: Bench) -> None:
    await bench.start()
    events = await bench.listen()

    await bench.send(named("Ada"), headers={"traceparent": "0" * 130_900})

    event = await events.next()
    assert event.routing_key == "noted.v1"
    assert "traceparent" not in event.headers
    assert _dropped(bench) == 1


async def test_an_organization_beyond_the_bound_is_not_the_default_one(bench: Bench) -> None:
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")

    await bench.send(named("Ada"), headers={"mine": "kept", "org": "d" * 120_000})

    assert (await failed.next_body())["code"] == "unknown_organization"
    assert _dropped(bench) == 1


async def test_a_table_within_a_thousand_tables_is_left_out(bench: Bench, amqp_url: str) -> None:
    messaging = await bench.start()
    connection = messaging._intake_link._connection
    failed = await bench.listen(key="command.failed.v1")
    inner = b"V"
    for _ in range(5000):
        inner = b"F" + table(short(b"in") + inner)
    headers = table(short(b"nest") + inner + short(b"mine") + b"b\x07")

    await publish_raw(amqp_url, KEY, body("Ada"), {MESSAGE_ID: short(b"m1"), HEADERS: headers})

    event = await failed.next_body()
    assert (event["message_id"], event["code"]) == ("m1", "invalid_message")
    assert (await bench.dead_letter()).headers == {"x-unreadable-headers": 1, "mine": 7}
    assert messaging._intake_link._connection is connection


async def test_what_stands_for_bytes_that_are_no_text_is_cut_to_what_a_property_holds(
    bench: Bench, amqp_url: str
) -> None:
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")
    odd = {CORRELATION_ID: short(b"\xe4" * 255), REPLY_TO: short(b"\xe4" * 255)}

    await publish_raw(amqp_url, KEY, body("Ada"), {MESSAGE_ID: short(b"m1"), **odd})

    announced = await failed.next()
    assert b"cannot be read: correlation_id, reply_to" in announced.body
    assert announced.correlation_id == "\N{REPLACEMENT CHARACTER}" * 85


@pytest.mark.parametrize("keys", [b"I\0\0\0\1", b"A\0\0\0\0", b"S\0\0\0\1x"])
async def test_a_sender_who_writes_the_broker_s_headers_is_not_believed(
    bench: Bench, amqp_url: str, keys: bytes
) -> None:
    await bench.start()
    death = short(b"queue") + b"S\0\0\0\x1ebilling-worker.intake.commands"
    death += short(b"routing-keys") + keys
    item = b"F" + table(death)
    headers = table(short(b"x-death") + b"A" + struct.pack(">I", len(item)) + item)

    await publish_raw(amqp_url, KEY, body("Ada"), {MESSAGE_ID: short(b"m1"), HEADERS: headers})

    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada"]


async def test_bytes_in_the_headers_lose_no_slot_whatever_becomes_of_the_message(
    bench: Bench, amqp_url: str
) -> None:
    """More of each kind than there are slots: bodies that break their contract, a Zoho that fails,
    and handlers that end without a word."""
    policy = quicker(slots=4, lease_s=0.3)

    async def fail_first(message: UserUpdated, work: UnitOfWork) -> None:
        if work.attempt == 1:
            raise Unavailable("Zoho answered with an error", code="zoho_unavailable")
        if work.attempt == 2:
            raise asyncio.CancelledError
        await note(message, work)

    messaging = await bench.start({"user.updated.v1": fail_first}, policy=policy)
    failed = await bench.listen(key="command.failed.v1")
    odd = {HEADERS: table(short(b"odd") + b"S" + struct.pack(">I", 2) + b"\xff\xfe")}
    for n in range(6):
        bad = {MESSAGE_ID: short(b"bad%d" % n), **odd}
        await publish_raw(amqp_url, KEY, b'{"user_id": 7}', bad)
        good = {MESSAGE_ID: short(b"good%d" % n), **odd}
        await publish_raw(amqp_url, KEY, body(f"n{n}", f"u{n}"), good)

    async def all_done() -> bool:
        return len(await bench.handled()) == 6

    codes = [(await failed.next_body())["code"] for _ in range(6)]
    assert codes == ["invalid_message"] * 6
    await until(all_done)
    assert messaging._dispatcher._slots.free == 4


async def test_a_service_whose_intake_stands_is_not_ready(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    messaging = await bench.start(policy=quicker(stands_s=1.5))
    validation = messaging._consumers[0]._handover._validation
    read = validation.read
    monkeypatch.setattr(validation, "read", AsyncMock(side_effect=TypeError))
    monkeypatch.setattr(validation, "given_up", AsyncMock(side_effect=TypeError))

    await bench.send(named("Ada"))

    async def stands() -> bool:
        return not await messaging.ready()

    await until(stands)
    monkeypatch.setattr(validation, "read", read)
    assert await bench.next_settlement() == Done()
    await until(messaging.ready)


async def test_what_fails_as_it_is_taken_is_not_acknowledged_with_what_comes_after(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = 0

    def fail_at_second(delivered: DeliveredMessage, **options: Any) -> Arrival:
        nonlocal failures
        arrival = decode(delivered, **options)
        if arrival.message.message_id == "second" and failures < 2:
            failures += 1
            raise MemoryError
        return arrival

    monkeypatch.setattr(consumer, "decode", fail_at_second)

    await _three_during_an_outage(bench)
    assert failures == 2


async def test_what_is_missing_among_deliveries_is_not_acknowledged_with_what_comes_after(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = 0

    class WithoutSecond(Deliveries):
        def __init__(self, channel: Channel, take: Take, failed: Failed) -> None:
            def take_others(delivered: DeliveredMessage) -> None:
                nonlocal missing
                if delivered.header.properties.message_id == "second" and not missing:
                    missing += 1
                else:
                    take(delivered)

            super().__init__(channel, take_others, failed)

    monkeypatch.setattr(consumer, "Deliveries", WithoutSecond)

    await _three_during_an_outage(bench)
    assert missing == 1


async def _three_during_an_outage(bench: Bench) -> None:
    """The second and the third arrive before the first is stored. All are handled, in order."""
    await bench.start()
    await bench.parts.database.down()
    for name in ("first", "second", "third"):
        await bench.send(named(name), message_id=name)
    await bench.parts.database.up()

    assert [await bench.next_settlement() for _ in range(3)] == [Done()] * 3
    assert await bench.handled() == ["first", "second", "third"]


async def test_what_cannot_be_decoded_at_all_is_given_up_and_holds_up_nobody(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = messages_decode._decoded

    def fail_at_second(delivered: DeliveredMessage, *args: Any, **options: Any) -> Arrival:
        if delivered.header.properties.message_id == "second":
            raise TypeError
        return decoded(delivered, *args, **options)

    monkeypatch.setattr(messages_decode, "_decoded", fail_at_second)
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")
    for name in ("first", "second", "third"):
        await bench.send(named(name), message_id=name)

    event = await failed.next_body()
    assert (event["code"], event["reason"]) == (
        "invalid_message",
        "properties that cannot be read: all",
    )
    letter = await bench.dead_letter()
    assert await bench.open(letter) == body("second")
    while await bench.handled() != ["first", "third"]:
        await bench.next_settlement()


async def test_a_service_whose_handlers_never_end_is_not_ready(bench: Bench) -> None:
    go_on = asyncio.Event()

    async def hang(message: UserUpdated, work: UnitOfWork) -> None:
        await go_on.wait()

    messaging = await bench.start({"user.updated.v1": hang}, policy=quicker(slots=2, stands_s=0.5))
    for n in range(3):
        await bench.send(named(f"n{n}", f"u{n}"))

    async def stands() -> bool:
        return not await messaging.ready()

    await until(stands)
    go_on.set()
    await until(messaging.ready)


def _dropped(bench: Bench) -> float:
    [metrics] = bench.metrics
    return sum(
        sample.value for family in metrics.headers_dropped.collect() for sample in family.samples
    )


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
