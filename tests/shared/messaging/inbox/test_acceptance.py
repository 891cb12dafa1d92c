"""What arrives is stored once, in the order of its queue, in the line of its user."""

from __future__ import annotations

import uuid

import pytest

from shared.messaging.inbox.acceptance import AcceptResult, RowFault
from shared.messaging.inbox.arrived_message import GivenUp, WaitsForRelease
from shared.messaging.inbox.lines import MessageOutcome
from tests.shared.messaging.inbox.conftest import Inbox, message

NEW, REPEATED, REUSED = AcceptResult.NEW, AcceptResult.REPEATED, AcceptResult.REUSED


async def test_messages_of_one_user_are_leased_one_after_another_in_order(inbox: Inbox) -> None:
    await inbox.accept(message("a"), message("b"), message("other", "u2"))

    first, other = await inbox.leased()
    assert [first.message_id, other.message_id] == ["a", "other"]
    assert await inbox.ids() == []

    await inbox.settle(first)
    assert await inbox.ids() == ["b"]


@pytest.mark.parametrize("planned", ["nestloop", "hashjoin", "mergejoin"])
async def test_a_group_keeps_its_order_however_the_statement_is_planned(
    inbox: Inbox, planned: str
) -> None:
    ids = [uuid.uuid4().hex for _ in range(100)]
    async with inbox.pool.acquire() as connection, connection.transaction():
        for other in {"nestloop", "hashjoin", "mergejoin"} - {planned}:
            await connection.execute(f"SET LOCAL enable_{other} = off")
        await inbox.on(connection).accept(*map(message, ids))

    assert await inbox.open() == ids


async def test_a_settled_message_leaves_nothing_open(inbox: Inbox) -> None:
    await inbox.accept(message("a"))

    await inbox.settle(await inbox.next())

    assert await inbox.counts() == (0, 0)


async def test_a_repetition_is_stored_once_also_within_a_group_and_after_it_was_done(
    inbox: Inbox,
) -> None:
    assert await inbox.accept(message("a"), message("a")) == [NEW, REPEATED]
    assert await inbox.accept(message("a")) == [REPEATED]

    await inbox.settle(await inbox.next())

    assert await inbox.accept(message("a")) == [REPEATED]
    assert await inbox.counts() == (0, 0)


async def test_an_id_with_another_body_is_refused_and_kept_as_a_dead_letter(inbox: Inbox) -> None:
    await inbox.accept(message("a", body=b"1"))

    assert await inbox.accept(message("b"), message("a", body=b"2")) == [NEW, REUSED]

    assert inbox.refused == [("a", "message_id_reused")]
    [letter] = await inbox.dead_letters.page()
    assert letter.code == "message_id_reused"
    assert await inbox.dead_letters.open(letter) == b"2"


async def test_the_mac_of_a_former_index_key_is_recognised(inbox: Inbox) -> None:
    first = message("a")
    await inbox.accept(first)

    rotated = first._replace(macs=b"n" * 32 + first.macs)

    assert await inbox.accept(rotated) == [REPEATED]


async def test_a_message_that_breaks_its_contract_is_stored_as_given_up_in_its_place(
    inbox: Inbox,
) -> None:
    broken = message("b", given_up=GivenUp("invalid_message", "no"))

    results = await inbox.accept(message("a"), broken, message("c"))

    assert results == [NEW, AcceptResult.GIVEN_UP, NEW]
    assert await inbox.open() == ["a", "c"]
    assert await inbox.dead_letters.counts() == {("default", "invalid_message"): 1}
    assert await inbox.accept(broken) == [REPEATED]
    assert await inbox.dead_letters.counts() == {("default", "invalid_message"): 1}


async def test_one_row_that_the_database_refuses_stores_nothing_of_its_group(
    inbox: Inbox,
) -> None:
    with pytest.raises(RowFault) as fault:
        await inbox.accept(message("a"), message("b", reply_to="nul\0"))

    assert fault.value.sqlstate.startswith("22")
    assert await inbox.accept(message("a")) == [NEW]


async def test_what_the_driver_cannot_encode_is_the_fault_of_its_row(inbox: Inbox) -> None:
    with pytest.raises(RowFault):
        await inbox.accept(message("a", reply_to="\ud800"))


async def test_the_body_opens_for_the_message_it_was_stored_for(inbox: Inbox) -> None:
    await inbox.accept(message("a", body=b"hello"))

    leased = await inbox.next()

    assert await inbox.vault.open_bytes(leased.body, leased.sealing_context) == b"hello"


async def test_an_unknown_routing_key_waits_for_a_replica_that_has_its_route(
    inbox: Inbox,
) -> None:
    waits = WaitsForRelease("unknown_command", "no replica knows it", end_s=100)
    await inbox.accept(message("new", routing_key="new.v2", waits=waits))
    assert await inbox.ids() == []

    assert await inbox.ids(routes={"new.v2": {}}) == ["new"]


async def test_an_unknown_routing_key_that_no_release_takes_ends_as_unknown_command(
    inbox: Inbox,
) -> None:
    waits = WaitsForRelease("unknown_command", "no replica knows it", end_s=100)
    await inbox.accept(message("new", routing_key="new.v2", waits=waits))

    ended = []
    for _ in range(25):
        inbox.after(5)
        ended += await inbox.ended(intake_behind=True)

    assert [(m.message_id, m.code) for m in ended] == [("new", "unknown_command")]
    assert await inbox.give_up(ended[0], "unknown_command")
    assert await inbox.counts() == (0, 0)


async def test_what_a_command_names_puts_later_commands_into_its_users_line(inbox: Inbox) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("create", names=invoice), message("void", None, named=invoice))
    await inbox.accept(message("show", None, named=invoice))

    for expected in ("create", "void", "show"):
        leased = await inbox.next()
        assert (leased.message_id, leased.line) == (expected, "user:u1")
        await inbox.settle(leased)


async def test_what_was_named_in_vain_before_joins_its_owner_at_its_own_place(
    inbox: Inbox,
) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("early", "u1"), message("void", None, named=invoice))
    assert await inbox.ids(limit=1, slots={1: 1}) == ["early"]

    await inbox.accept(message("create", names=invoice))

    assert await inbox.open() == ["early", "void", "create"]
    assert await inbox.counts() == (3, 1)


async def test_a_line_under_way_is_marked_and_moves_when_its_message_is_settled(
    inbox: Inbox,
) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("v1", None, named=invoice), message("v2", None, named=invoice))
    running = await inbox.next()
    await inbox.accept(message("create", names=invoice))

    # Nothing more of the marked line is leased, only its owner's.
    create = await inbox.next()
    assert create.message_id == "create"
    await inbox.settle(create)
    assert await inbox.ids() == []

    await inbox.settle(running)
    moved = await inbox.next()
    assert (moved.message_id, moved.line) == ("v2", "user:u1")
    await inbox.settle(moved)
    assert await inbox.counts() == (0, 0)


async def test_a_marked_line_whose_process_died_moves_with_its_message(inbox: Inbox) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("v1", None, named=invoice), message("v2", None, named=invoice))
    dead = await inbox.next(lease_s=10)
    await inbox.accept(message("create", names=invoice))

    inbox.after(11)

    leased = await inbox.next()
    assert (leased.message_id, leased.line, leased.attempt) == ("v1", "user:u1", 1)
    assert await inbox.settle(dead) == set()
    await inbox.settle(leased)
    assert await inbox.ids() == ["v2"]


async def test_an_erasure_goes_before_all_of_its_user_and_ends_what_waits(inbox: Inbox) -> None:
    await inbox.accept(message("waits"), message("later"))
    assert (await inbox.wait_for(await inbox.next())).value == "waits"
    await inbox.put_back(await inbox.next(), due_s=1000)

    await inbox.accept(message("erase", first=True))

    erase = await inbox.next()
    assert (erase.message_id, erase.erased) == ("erase", False)
    await inbox.settle(erase)
    for expected in ("waits", "later"):
        leased = await inbox.next()
        assert (leased.message_id, leased.erased) == (expected, True)
        await inbox.settle(leased, outcome=MessageOutcome.GIVEN_UP)
    assert await inbox.counts() == (0, 0)


async def test_an_erasure_waits_for_its_time_as_any_other_message(inbox: Inbox) -> None:
    await inbox.accept(message("erase", first=True))
    await inbox.put_back(await inbox.next(), due_s=60)

    inbox.after(59)
    assert await inbox.leased() == []
    inbox.after(2)
    assert (await inbox.next()).message_id == "erase"


async def test_later_messages_of_an_erased_user_are_refused_and_nothing_is_kept(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("names", names=(("invoice", "i1"),)))
    await inbox.pool.execute("INSERT INTO relay.tombstones (org, user_id) VALUES ('default', 'u1')")

    results = await inbox.accept(
        message("a"), message("b", "u2"), message("c", None, named=(("invoice", "i1"),))
    )

    assert results == [AcceptResult.ERASED, NEW, AcceptResult.ERASED]
    assert inbox.refused == [("a", "erased"), ("c", "erased")]
    assert await inbox.dead_letters.page() == []
    assert await inbox.open() == ["names", "b"]
    assert await inbox.accept(message("a")) == [REPEATED]
