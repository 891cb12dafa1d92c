"""What cannot be handled is kept as a dead letter, and its sender is told."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import orjson
import pytest

from shared.contracts.commands import UserUpdated
from shared.crypto.envelope import DataKeys, UserKey, Vault
from shared.crypto.keyring import KeyRing
from shared.errors import NotYetKnown, PermanentError, Unavailable
from shared.messaging.handling.routes import Route, Routes
from shared.messaging.handling.settlement import Done, GiveUp, Retry, WaitForFact, WaitForPerson
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.dead_letters import DeadLetters
from shared.messaging.inbox.inspection import InboxInspection
from tests.kit.servers import Management
from tests.shared.messaging.conftest import KEY, Bench, named, note, quicker


async def refuse(message: UserUpdated, work: UnitOfWork) -> None:
    raise PermanentError("the plan is not sold any more", code="plan_unknown")


async def test_a_refused_command_is_kept_sealed_and_answered(bench: Bench) -> None:
    await bench.start({"user.updated.v1": refuse})
    failed = await bench.listen(key="command.failed.v1")

    message_id = await bench.send(named("Ada Lovelace"), headers={"traceparent": "00-1-2-01"})

    assert await bench.next_settlement() == GiveUp("plan_unknown", "the plan is not sold any more")
    event = await failed.next_body()
    assert event["service"] == "billing-worker"
    assert event["routing_key"] == "user.updated.v1"
    assert event["message_id"] == message_id
    assert event["code"] == "plan_unknown"
    assert "version" not in event
    letter = await bench.dead_letter()
    assert letter.message_id == message_id
    assert letter.code == "plan_unknown"
    assert letter.reason == "the plan is not sold any more"
    assert letter.attempts == 1
    assert (letter.exchange, letter.routing_key) == ("zoho.commands", "user.updated.v1")
    assert letter.traceparent == "00-1-2-01"
    assert b"Ada" not in letter.body
    assert b"Ada" in await bench.open(letter)
    assert await bench.open_messages() == 0


async def test_attempts_are_bounded(bench: Bench) -> None:
    async def never(message: UserUpdated, work: UnitOfWork) -> None:
        raise Unavailable("not now")

    await bench.start({"user.updated.v1": never})
    await bench.send(named("Ada"))

    settled = [await bench.next_settlement() for _ in range(3)]

    assert settled == [Retry(0.2), Retry(0.3), GiveUp("unavailable", "not now")]
    assert (await bench.dead_letter()).attempts == 3


async def test_an_error_nobody_foresaw_says_nothing_of_itself(bench: Bench) -> None:
    async def broken(message: UserUpdated, work: UnitOfWork) -> None:
        raise ValueError("ada@example.com")

    await bench.start({"user.updated.v1": broken})
    failed = await bench.listen(key="command.failed.v1")
    await bench.send(named("Ada"))

    event = await failed.next_body()
    assert event["code"] == "internal_error"
    assert "ada@" not in str(event)


async def test_a_message_given_up_stays_given_up_until_it_is_replayed(bench: Bench) -> None:
    healed = False

    async def refuse_until_healed(message: UserUpdated, work: UnitOfWork) -> None:
        if not healed:
            raise PermanentError("no", code="no")
        await note(message, work)

    await bench.start({"user.updated.v1": refuse_until_healed})
    letters = DeadLetters(bench.parts.pool, "test", bench.parts.vault)
    await bench.send(named("Ada"), message_id="m1")
    assert isinstance(await bench.next_settlement(), GiveUp)

    await bench.send(named("Ada"), message_id="m1")
    await bench.accepted_all()
    assert await bench.open_messages() == 0
    arrived = (await bench.dead_letter()).arrived
    assert await letters.replay(arrived, by="ada")
    assert isinstance(await bench.next_settlement(), GiveUp)
    assert await bench.handled() == []

    healed = True
    assert await letters.replay((await bench.dead_letter()).arrived, by="ada")
    assert await bench.next_settlement() == Done()
    assert await bench.handled() == ["Ada"]
    assert await bench.dead_letters() == []


async def test_an_unknown_command_is_answered(bench: Bench) -> None:
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")

    message_id = await bench.send(b'{"user_id": "u1"}', routing_key="user.singed_up.v1")

    event = await failed.next_body()
    assert (event["code"], event["message_id"]) == ("unknown_command", message_id)
    assert event["routing_key"] == "user.singed_up.v1"
    letter = await bench.dead_letter()
    assert letter.routing_key == "user.singed_up.v1"
    assert b"user_id" not in letter.body
    await bench.send(named("next"))
    while await bench.next_settlement() != Done():
        pass
    assert await bench.handled() == ["next"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"not json", "invalid_message"),
        (b"[]", "invalid_message"),
        (b'{"user_id": "u1", "full_nmae": "Ada"}', "invalid_message"),
        (b'{"user_id": ""}', "invalid_message"),
        (b'{"user_id": "u\\u0000"}', "invalid_message"),
        (b'{"user_id": "u1", "full_name": "' + b"a" * 2**21 + b'"}', "too_large"),
    ],
    ids=["not json", "no object", "misspelt field", "empty id", "nul", "too large"],
)
async def test_what_does_not_match_its_contract_is_told_why(
    bench: Bench, body: bytes, code: str
) -> None:
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")

    message_id = await bench.send(body, routing_key="user.updated.v1")
    await bench.send(named("next", "u2"))

    event = await failed.next_body()
    assert (event["code"], event["message_id"]) == (code, message_id)
    assert (await bench.dead_letter()).code == code
    while not await bench.handled():
        await bench.next_settled()
    assert await bench.handled() == ["next"]


@pytest.mark.parametrize(
    ("message_id", "headers", "reply_to", "code"),
    [
        ("m" * 129, None, None, "message_id_invalid"),
        ("m\0", None, None, "message_id_invalid"),
        ("m1", {"org": "other"}, None, "unknown_organization"),
        ("m1", {"org": 7}, None, "unknown_organization"),
        ("m1", {"org": ["default"]}, None, "unknown_organization"),
        ("m1", {"org": {"name": "default"}}, None, "unknown_organization"),
        ("m1", {"mine": "a\0b"}, None, "invalid_message"),
        ("m1", None, "billing-worker.intake.commands", "reply_to_refused"),
        ("m1", None, "crm-worker.poison", "reply_to_refused"),
        ("m1", None, "unrouted.intake", "reply_to_refused"),
        ("m1", {"x-sealed": 1}, None, "sealed_value_invalid"),
    ],
)
async def test_properties_that_are_not_right_are_told(
    bench: Bench,
    message_id: str,
    headers: dict[str, object] | None,
    reply_to: str | None,
    code: str,
) -> None:
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")

    await bench.send(named("Ada"), message_id=message_id, headers=headers, reply_to=reply_to)

    assert (await failed.next_body())["code"] == code
    letter = await bench.dead_letter()
    assert letter.code == code
    assert await bench.handled() == []
    assert orjson.loads(await bench.open(letter))["user_id"] == "u1"


async def test_a_command_without_a_message_id_is_told(
    bench: Bench, amqp_management: Management
) -> None:
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")

    vhost = urlsplit(bench.parts.amqp_url.get_secret_value()).path[1:]
    message = {  # the client library gives every message an id
        "properties": {},
        "routing_key": "user.updated.v1",
        "payload": named("Ada").model_dump_json(exclude_unset=True),
        "payload_encoding": "string",
    }
    await asyncio.to_thread(
        amqp_management.call, "POST", f"exchanges/{vhost}/zoho.commands/publish", message
    )

    event = await failed.next_body()
    assert event["code"] == "message_id_missing"
    assert "message_id" not in event
    letter = await bench.dead_letter()
    assert orjson.loads(await bench.open(letter))["user_id"] == "u1"


async def test_later_messages_of_a_forgotten_user_end_as_erased(bench: Bench) -> None:
    await bench.start()
    failed = await bench.listen(key="command.failed.v1")
    await bench.parts.pool.execute(
        "INSERT INTO relay.tombstones (org, user_id) VALUES ('default', 'u1')"
    )

    await bench.send(named("Ada", "u1"))

    assert (await failed.next_body())["code"] == "erased"
    assert await bench.handled() == []
    assert await bench.dead_letters() == []  # nothing of theirs is kept
    assert await bench.open_messages() == 0


async def test_a_message_whose_process_always_dies_is_given_up(bench: Bench) -> None:
    calls = []

    async def die(message: UserUpdated, work: UnitOfWork) -> None:
        calls.append(work.attempt)
        raise asyncio.CancelledError  # the attempt ends without a word, as when its process dies

    await bench.start({"user.updated.v1": die}, policy=quicker(lease_s=0.1))
    failed = await bench.listen(key="command.failed.v1")
    await bench.send(named("Ada"))

    assert (await failed.next_body())["code"] == "attempts_exhausted"
    assert (await bench.dead_letter()).code == "attempts_exhausted"
    assert calls[-1] == 3


@pytest.mark.parametrize(
    ("body", "routing_key", "code"),
    [
        (b"not json", "user.updated.v1", "invalid_message"),
        (b'{"user_id": "u1"}', "user.singed_up.v1", "unknown_command"),
        (b"a" * (2**21 + 100), "user.updated.v1", "too_large"),
    ],
)
async def test_what_intake_gives_up_is_counted_once_by_its_code(
    bench: Bench, body: bytes, routing_key: str, code: str
) -> None:
    await bench.start()

    for _ in range(2):
        await bench.send(body, message_id="m1", routing_key=routing_key)
    await bench.accepted_all()

    assert _given_up(bench) == {code: 1}
    assert (await bench.dead_letter()).code == code


async def test_an_id_that_is_reused_by_a_message_that_breaks_its_contract_is_given_up_once(
    bench: Bench,
) -> None:
    await bench.start()
    await bench.send(named("Ada"), message_id="m1")
    await bench.send(b"not json", message_id="m1", routing_key="user.updated.v1")
    await bench.accepted_all()

    assert _given_up(bench) == {"invalid_message": 1}
    assert (await bench.dead_letter()).code == "invalid_message"


async def test_a_read_that_is_older_than_its_reply_ends_without_a_call(bench: Bench) -> None:
    calls = []

    async def read(message: UserUpdated, work: UnitOfWork) -> None:
        calls.append(message.user_id)
        await bench.parts.pool.execute(
            "UPDATE test.inbox SET accepted_at = accepted_at - interval '601 seconds'"
        )
        raise Unavailable("not now")

    route = Route(UserUpdated, read, expires_s=600.0)
    await bench.start(routes=Routes(commands={"user.updated.v1": route}))
    failed = await bench.listen(key="command.failed.v1")
    await bench.send(named("Ada"))

    assert (await failed.next_body())["code"] == "expired"
    assert calls == ["u1"]


async def test_what_cannot_be_sealed_to_be_given_up_waits_until_its_key_is_back(
    bench: Bench,
) -> None:
    async def refuse_one(message: UserUpdated, work: UnitOfWork) -> None:
        if message.user_id == "u1":
            raise PermanentError("no", code="no")
        await note(message, work)

    await _take_key_away(bench, "u1")
    await bench.start({"user.updated.v1": refuse_one}, policy=quicker(slots=1))
    await bench.send(named("Ada", "u1"))

    assert await bench.next_settlement() == WaitForPerson(60.0, None)
    inspection = InboxInspection(bench.parts.pool, "test")
    [waiting] = await inspection.page()
    assert (waiting.waits_for, waiting.code) == ("person", "unknown_key")
    assert (waiting.attempt, waiting.ends_at) == (0, None)
    await bench.send(named("Bob", "u2"))
    assert await bench.next_settlement() == Done()

    await inspection.end_wait(waiting.arrived, by="ada")
    assert await bench.next_settlement() == WaitForPerson(60.0, None)  # it looks, and waits on
    [waiting] = await inspection.page()

    await _put_key_back(bench)
    await inspection.end_wait(waiting.arrived, by="ada")

    assert await bench.next_settlement() == GiveUp("no", "no")
    assert b"Ada" in await bench.open(await bench.dead_letter())


async def test_what_always_dies_holds_nobody_up_while_its_key_is_missing(bench: Bench) -> None:
    """After two lapses a message is leased alone: nothing else may run beside it."""

    async def die_of_one(message: UserUpdated, work: UnitOfWork) -> None:
        if message.user_id == "u1":
            raise asyncio.CancelledError
        await note(message, work)

    await _take_key_away(bench, "u1")
    await bench.start({"user.updated.v1": die_of_one}, policy=quicker(lease_s=0.1))
    await bench.send(named("Ada", "u1"))
    assert await bench.next_settlement() == WaitForPerson(60.0, None)
    await bench.send(named("Bob", "u2"))
    assert await bench.next_settlement() == Done()

    await _put_key_back(bench)
    inspection = InboxInspection(bench.parts.pool, "test")
    await inspection.end_wait((await inspection.page())[0].arrived, by="ada")

    assert isinstance(await bench.next_settlement(), GiveUp)
    assert (await bench.dead_letter()).code == "attempts_exhausted"


async def test_a_wait_that_cannot_end_for_want_of_a_key_lets_the_others_end(bench: Bench) -> None:
    async def not_yet(message: UserUpdated, work: UnitOfWork) -> None:
        raise NotYetKnown("no such user", key=message.user_id)

    await _take_key_away(bench, "u1")
    await bench.start({"user.updated.v1": not_yet})
    for user_id in ("u1", "u2", "u3"):
        await bench.send(named("Ada", user_id))
        assert await bench.next_settlement() == WaitForFact("user", user_id)

    await bench.parts.pool.execute(
        "UPDATE test.inbox SET end_s = 0, check_at = now() - interval '1 hour'"
    )

    assert {(await bench.next_settled()).message.message_id for _ in range(2)} == {
        letter.message_id for letter in await bench.dead_letters()
    }
    assert {letter.line for letter in await bench.dead_letters()} == {"user:u2", "user:u3"}
    await _put_key_back(bench)
    await bench.parts.pool.execute("UPDATE test.inbox SET check_at = now()")
    assert isinstance(await bench.next_settlement(), GiveUp)
    assert await bench.open_messages() == 0


def _given_up(bench: Bench) -> dict[str, float]:
    """By code, what `dead_letters_total` has counted."""
    [metrics] = bench.metrics
    return {
        sample.labels["code"]: sample.value
        for family in metrics.dead_letters_given_up.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


async def _take_key_away(bench: Bench, user_id: str) -> None:
    """The user's data key is wrapped by a key that is not in the ring any more."""
    other = Vault(DataKeys(bench.parts.pool, KeyRing.parse(KEY)))
    await other.key_of(UserKey("default", user_id))
    await bench.parts.pool.execute("UPDATE relay.data_keys SET key_id = 'gone'")


async def _put_key_back(bench: Bench) -> None:
    await bench.parts.pool.execute("UPDATE relay.data_keys SET key_id = 'e1'")
