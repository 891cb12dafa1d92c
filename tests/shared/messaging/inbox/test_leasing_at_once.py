"""A message whose line is new is leased in the statement that stores it, where a slot is free."""

from __future__ import annotations

import asyncio

from shared.messaging.inbox.leasing_at_once import LeaseTerms
from tests.shared.messaging.inbox.conftest import ROUTES, Inbox, limits, message


async def test_it_is_what_a_lease_would_bring(inbox: Inbox) -> None:
    one = message("m1", "u1", body=b'{"a": 1}', records=("user",), reply_to="answers")
    [at_once] = await inbox.accept_and_lease(one, lease_s=10)

    assert await inbox.leased() == []
    inbox.after(11)
    later = await inbox.next()

    assert at_once._replace(claim=0, accepted_at=later.accepted_at) == later._replace(claim=0)
    assert later.claim > at_once.claim


async def test_it_is_settled_and_the_next_of_its_line_comes(inbox: Inbox) -> None:
    [first] = await inbox.accept_and_lease(message("m1"), message("m2"))
    assert await inbox.leased() == []

    assert await inbox.settle(first) == {first.arrived}

    assert inbox.left_due
    assert await inbox.ids() == ["m2"]


async def test_of_a_line_that_is_there_nothing_is_leased(inbox: Inbox) -> None:
    await inbox.accept(message("m1"))
    assert await inbox.accept_and_lease(message("m2")) == []
    first = await inbox.next()
    assert await inbox.accept_and_lease(message("m3"), message("other", "u2")) != []
    await inbox.settle(first)

    assert await inbox.ids() == ["m2"]


async def test_a_message_that_comes_again_is_not_leased_again(inbox: Inbox) -> None:
    [one] = await inbox.accept_and_lease(message("m1"))

    assert await inbox.accept_and_lease(message("m1")) == []

    await inbox.settle(one)
    assert await inbox.accept_and_lease(message("m1")) == []
    assert await inbox.counts() == (0, 0)


async def test_it_lapses_like_any_lease(inbox: Inbox) -> None:
    [lost] = await inbox.accept_and_lease(message("m1"), lease_s=10)
    inbox.after(11)

    again = await inbox.next()

    assert await inbox.settle(lost) == set()
    assert await inbox.settle(again) == {again.arrived}


async def test_its_calls_are_reserved(inbox: Inbox) -> None:
    create, note = await inbox.accept_and_lease(
        message("create", "u1", routing_key="create.v1"),
        message("note", "u2", routing_key="note.v1"),
        routes=ROUTES,
        limits=limits(billing=10, books=10),
    )

    assert set(create.reservations) == {"billing", "books"}
    assert note.reservations == {}
    rows = await inbox.pool.fetch("SELECT id, product, calls FROM relay.reservations")
    assert {row["id"]: (row["product"], row["calls"]) for row in rows} == {
        create.reservations["billing"]: ("billing", 2),
        create.reservations["books"]: ("books", 1),
    }


async def test_what_the_ledger_refuses_is_stored_and_left_due(inbox: Inbox) -> None:
    scarce = {"routes": ROUTES, "limits": limits(billing=9, books=1)}
    [_] = await inbox.accept_and_lease(message("c1", "u0", routing_key="create.v1"), **scarce)

    leased = await inbox.accept_and_lease(
        message("note", "u1", routing_key="note.v1"),
        message("create", "u2", routing_key="create.v1"),  # Billing grants it, Books does not
        message("find", "u3", routing_key="find.v1"),
        **scarce,
    )

    assert [one.message_id for one in leased] == ["note", "find"]
    assert leased[0].reservations == {}
    assert await inbox.pool.fetchval("SELECT sum(calls) FROM relay.reservations") == 3 + 1
    assert await inbox.ids(routes=ROUTES, limits=limits(billing=9, books=9)) == ["create"]


async def test_the_most_urgent_get_the_calls_that_are_left(inbox: Inbox) -> None:
    leased = await inbox.accept_and_lease(
        message("command", "u1", routing_key="find.v1", priority=1),
        message("payment", "u2", routing_key="find.v1", priority=0),
        routes=ROUTES,
        limits=limits(billing=1),
    )

    assert [one.message_id for one in leased] == ["payment"]


async def test_the_head_before_a_more_urgent_message_has_that_urgency(inbox: Inbox) -> None:
    read, payment = message("read", priority=2), message("payment", priority=0)

    assert await inbox.accept_and_lease(read, payment) == []

    head = await inbox.next()
    assert (head.message_id, head.priority) == ("read", 0)


async def test_what_names_another_users_thing_is_leased_in_that_users_line(inbox: Inbox) -> None:
    await inbox.accept(message("named", "u1", names=(("invoice", "i1"),)))
    await inbox.settle(await inbox.next())

    [one] = await inbox.accept_and_lease(message("about it", None, named=(("invoice", "i1"),)))

    assert one.line == "user:u1"
    assert await inbox.accept_and_lease(message("of the user", "u1")) == []


async def test_nothing_is_leased_beside_an_erasure(inbox: Inbox) -> None:
    erasure = message("forget", "u1", first=True)

    assert await inbox.accept_and_lease(erasure, message("m1", "u2")) == []

    assert sorted(await inbox.ids()) == ["forget", "m1"]


async def test_a_fact_that_was_recorded_since_is_seen(inbox: Inbox) -> None:
    [waiting] = await inbox.accept_and_lease(message("m1", "u2"))
    [knows] = await inbox.accept_and_lease(message("m2", "u1"))
    await inbox.settle(knows, facts=[("user", "u1")])

    assert await inbox.wait_for(waiting) == "again"


async def test_of_one_users_messages_accepted_side_by_side_one_is_leased(inbox: Inbox) -> None:
    inbox.slots.terms = LeaseTerms({}, {}, 120.0, 30.0)
    for number in range(20):
        user_id = f"user-{number}"
        await asyncio.gather(
            *(inbox.accept(message(f"{user_id} {at}", user_id)) for at in range(4))
        )

    assert len(inbox.slots.started) == 20
    assert len({one.line for one in inbox.slots.started}) == 20
