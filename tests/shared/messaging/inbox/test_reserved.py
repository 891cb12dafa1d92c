"""A lease reserves the calls of what it brings. A refusal changes no line."""

from __future__ import annotations

from tests.shared.messaging.inbox.conftest import ROUTES, Inbox, limits, message


async def test_a_message_brings_a_reservation_for_each_product_that_it_calls(
    inbox: Inbox,
) -> None:
    await inbox.accept(
        message("create", "u1", routing_key="create.v1"),
        message("note", "u2", routing_key="note.v1"),
    )

    create, note = await inbox.leased(routes=ROUTES, limits=limits(billing=10, books=10))

    assert set(create.reservations) == {"billing", "books"}
    assert note.reservations == {}
    rows = await inbox.pool.fetch("SELECT id, product, calls, lane FROM relay.reservations")
    assert {row["id"]: (row["product"], row["calls"], row["lane"]) for row in rows} == {
        create.reservations["billing"]: ("billing", 2, "commands"),
        create.reservations["books"]: ("books", 1, "commands"),
    }


async def test_what_the_ledger_refuses_stays_due_and_names_the_time_to_come_back(
    inbox: Inbox,
) -> None:
    await inbox.accept(*[message(f"f{at}", f"u{at}", routing_key="find.v1") for at in range(5)])
    await inbox.accept(message("note", "u9", routing_key="note.v1"))
    before = await inbox.pool.fetch("SELECT * FROM test.lines WHERE line > 'user:u2' ORDER BY line")

    for _ in range(2):  # not confident at first, then neither
        lease = await inbox.lease(routes=ROUTES, limits=limits(billing=3))
        if lease.messages:
            assert [m.message_id for m in lease.messages] == ["f0", "f1", "f2", "note"]
        [refusal] = lease.refusals
        assert (refusal.org, refusal.product, refusal.priority) == ("default", "billing", 1)
        assert refusal.limit == "minute"
        assert 0 < refusal.retry_after_s <= 60

    after = await inbox.pool.fetch(
        "SELECT * FROM test.lines WHERE line IN ('user:u3', 'user:u4') ORDER BY line"
    )
    assert after == before[:2]
    inbox.after(121)
    lease = await inbox.lease(routes=ROUTES, limits=limits(billing=9), lease_s=10)
    assert {"f3", "f4"} <= {m.message_id for m in lease.messages}


async def test_a_confident_lease_that_is_refused_undoes_what_it_took(inbox: Inbox) -> None:
    await inbox.accept(message("first", "u0", routing_key="find.v1"))
    assert await inbox.ids(routes=ROUTES, limits=limits(billing=2)) == ["first"]
    await inbox.accept(*[message(f"f{at}", f"u{at}", routing_key="find.v1") for at in (1, 2)])

    lease = await inbox.lease(routes=ROUTES, limits=limits(billing=2))

    assert [m.message_id for m in lease.messages] == ["f1"]
    assert len(lease.refusals) == 1
    leased = await inbox.pool.fetch(
        "SELECT line FROM test.lines WHERE leased_until IS NOT NULL ORDER BY line"
    )
    assert [row["line"] for row in leased] == ["user:u0", "user:u1"]
    claimed = await inbox.pool.fetchval("SELECT claim FROM test.inbox WHERE message_id = 'f2'")
    assert claimed is None


async def test_a_message_refused_by_one_product_keeps_nothing_of_another(inbox: Inbox) -> None:
    await inbox.accept(message("create", "u1", routing_key="create.v1"))

    lease = await inbox.lease(routes=ROUTES, limits=limits(billing=10, books=0))

    # The first call counts against nothing, so one is made whatever the limit is.
    assert len(lease.messages) == 1
    await inbox.accept(message("create2", "u2", routing_key="create.v1"))
    lease = await inbox.lease(routes=ROUTES, limits=limits(billing=10, books=0))
    assert lease.messages == []
    assert [refusal.product for refusal in lease.refusals] == ["books"]
    calls = await inbox.pool.fetchval(
        "SELECT sum(calls) FROM relay.reservations WHERE product = 'billing'"
    )
    assert calls == 2


async def test_an_erased_users_message_reserves_nothing(inbox: Inbox) -> None:
    await inbox.accept(message("f", "u1", routing_key="find.v1"))
    await inbox.pool.execute("INSERT INTO relay.tombstones (org, user_id) VALUES ('default', 'u1')")

    leased = await inbox.next(routes=ROUTES, limits=limits(billing=0))

    assert leased.erased
    assert leased.reservations == {}
