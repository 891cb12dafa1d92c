"""The head of each line is leased by one replica at a time, and settled by whoever has it."""

from __future__ import annotations

import pytest

from shared.errors import PermanentError
from shared.messaging.inbox.lines import MessageOutcome, PutBackResult, WaitKind
from tests.shared.messaging.inbox.conftest import Inbox, message

PAYMENTS, COMMANDS, READS = 0, 1, 2


async def test_the_urgent_go_first_and_then_the_oldest(inbox: Inbox) -> None:
    await inbox.accept(
        message("old", "u1"),
        message("read", "u2", priority=READS),
        message("new", "u3"),
        message("pay", "u4", priority=PAYMENTS),
    )

    assert await inbox.ids() == ["pay", "old", "new", "read"]


async def test_an_urgent_message_lifts_the_whole_line_before_it(inbox: Inbox) -> None:
    await inbox.accept(
        message("other", "u2"), message("first", "u1"), message("pay", "u1", priority=PAYMENTS)
    )

    first, other = await inbox.leased()

    assert (first.message_id, first.priority, other.message_id) == ("first", PAYMENTS, "other")
    await inbox.settle(first)
    pay = await inbox.next()
    await inbox.accept(message("later", "u1"))
    await inbox.settle(pay)
    assert (await inbox.next()).priority == COMMANDS


async def test_no_more_of_a_priority_is_leased_than_it_has_slots(inbox: Inbox) -> None:
    await inbox.accept(*[message(f"c{at}", f"u{at}") for at in range(5)])
    await inbox.accept(*[message(f"r{at}", f"v{at}", priority=READS) for at in range(5)])

    assert await inbox.ids(slots={COMMANDS: 2, READS: 1}) == ["c0", "c1", "r0"]
    assert await inbox.ids(limit=3, slots={COMMANDS: 2, READS: 5}) == ["c2", "c3", "r1"]


async def test_a_replica_leases_only_the_routes_that_it_has(inbox: Inbox) -> None:
    await inbox.accept(
        message("a", "u1", routing_key="a.v1"),
        message("b", "u2", routing_key="billing.x", route="billing.#"),
    )

    assert await inbox.ids(routes={"a.v1": {}}) == ["a"]
    assert await inbox.ids(routes={"billing.#": {}}) == ["b"]


async def test_a_closed_product_is_passed_over_at_its_priority_only(inbox: Inbox) -> None:
    await inbox.accept(
        message("crm", "u1", routing_key="crm.v1"),
        message("pay", "u2", routing_key="crm.v1", priority=PAYMENTS),
        message("plain", "u3"),
    )

    routes = {"crm.v1": {"crm": 1}, "user.updated.v1": {}}

    closed = [("default", "crm", COMMANDS), ("default", "crm", PAYMENTS)]
    assert await inbox.ids(routes=routes, closed=closed) == ["plain"]


async def test_a_lapsed_lease_is_taken_over_and_its_former_owner_changes_nothing(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"), message("b"))
    former = await inbox.next(lease_s=10)
    inbox.after(9)
    assert await inbox.leased() == []

    inbox.after(2)
    owner = await inbox.next()

    assert (owner.message_id, owner.arrived) == ("a", former.arrived)
    assert owner.claim > former.claim
    assert await inbox.settle(former) == set()
    assert await inbox.put_back(former) is PutBackResult.LOST
    assert await inbox.lines.renew([(former.arrived, former.claim)], 10) == {
        (former.arrived, former.claim)
    }
    assert await inbox.settle(owner) == {owner.arrived}
    assert await inbox.ids() == ["b"]


async def test_a_renewed_lease_does_not_lapse(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    leased = await inbox.next(lease_s=10)

    for _ in range(5):
        inbox.after(9)
        assert await inbox.lines.renew([(leased.arrived, leased.claim)], 10) == set()

    assert await inbox.leased() == []


async def test_a_claim_number_is_never_used_twice_also_when_a_line_is_made_anew(
    inbox: Inbox,
) -> None:
    claims = []
    for at in range(3):
        await inbox.accept(message(f"m{at}"))
        leased = await inbox.next()
        claims.append(leased.claim)
        await inbox.settle(leased)

    assert len(set(claims)) == 3


async def test_a_message_that_waits_for_time_holds_its_line(inbox: Inbox) -> None:
    await inbox.accept(message("a"), message("b"), message("other", "u2"))
    first, other = await inbox.leased()
    await inbox.settle(other)

    assert await inbox.put_back(first, due_s=60) is PutBackResult.WAITS

    inbox.after(59)
    assert await inbox.leased() == []
    inbox.after(1)
    assert await inbox.ids() == ["a"]


async def test_only_a_spent_attempt_counts(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    for spent, attempt in ((False, 1), (True, 1), (True, 2), (False, 3)):
        leased = await inbox.next()
        assert leased.attempt == attempt
        await inbox.put_back(leased, spent=spent)


async def test_a_lapsed_attempt_counts_only_when_it_was_alone_and_the_database_answered(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"))
    attempts = []
    for answering_s in (3600.0, 3600.0, 3600.0, 3600.0, 5.0):
        leased = await inbox.next(lease_s=10, answering_s=answering_s)
        attempts.append((leased.attempt, leased.alone))
        inbox.after(11)

    # The first two were not alone; the last takeover had no answer from PostgreSQL all the time.
    assert attempts == [(1, False), (1, False), (1, True), (2, True), (2, True)]


async def test_what_lapsed_twice_is_leased_alone_by_an_idle_process(inbox: Inbox) -> None:
    await inbox.accept(message("killer", "u1"), message("harmless", "u2"))
    for _ in range(2):
        assert len(await inbox.leased(lease_s=10)) == 2
        inbox.after(11)

    busy = await inbox.lease(idle=False)
    assert (busy.messages, busy.alone_waits) == ([], True)

    [first] = await inbox.leased()
    assert (first.message_id, first.alone) == ("killer", True)
    # One that came to its end is like any other.
    await inbox.put_back(first)
    assert await inbox.ids(idle=False) == ["killer"]
    assert await inbox.ids() == ["harmless"]


async def test_a_lapsed_lease_does_not_forget_that_a_message_goes_before(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    former = await inbox.next(lease_s=10)
    await inbox.accept(message("erase", first=True))
    assert await inbox.leased() == []

    inbox.after(11)

    erase = await inbox.next()
    assert erase.message_id == "erase"
    assert await inbox.settle(former) == set()
    await inbox.settle(erase)
    again = await inbox.next()
    assert (again.message_id, again.attempt) == ("a", 1)


async def test_an_early_commit_is_conditional_on_the_claim_and_keeps_the_lease(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"), message("b"))
    leased = await inbox.next(lease_s=10)

    assert await inbox.settle(leased, outcome=MessageOutcome.KEPT) == {leased.arrived}
    assert await inbox.leased() == []

    inbox.after(11)
    await inbox.next()
    assert await inbox.settle(leased, outcome=MessageOutcome.KEPT) == set()


async def test_a_given_up_message_is_kept_and_comes_back_at_the_end_of_its_line(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a", body=b"hello"), message("b"))
    given_up = await inbox.next()
    assert await inbox.give_up(given_up, "zoho_rejected")
    await inbox.accept(message("c"))

    [letter] = await inbox.dead_letters.page(code="zoho_rejected")
    assert (letter.message_id, letter.attempts) == ("a", 1)
    assert await inbox.dead_letters.open(letter) == b"hello"
    assert await inbox.dead_letters.replay(letter.arrived, by="ann")
    assert not await inbox.dead_letters.replay(letter.arrived, by="bob")

    assert await inbox.open() == ["b", "c", "a"]
    for expected in ("b", "c"):
        leased = await inbox.next()
        assert leased.message_id == expected
        await inbox.settle(leased)
    replayed = await inbox.next()
    assert (replayed.message_id, replayed.attempt) == ("a", 1)
    assert replayed.arrived == given_up.arrived
    assert await inbox.vault.open_bytes(replayed.body, replayed.sealing_context) == b"hello"

    assert await inbox.give_up(replayed, "zoho_rejected")
    assert [one.message_id for one in await inbox.dead_letters.page()] == ["a"]


async def test_a_discarded_dead_letter_keeps_only_who_discarded_it(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    leased = await inbox.next()
    await inbox.give_up(leased)

    assert await inbox.dead_letters.discard(leased.arrived, by="ann")

    assert await inbox.dead_letters.page() == []
    row = await inbox.pool.fetchrow("SELECT state, body, settled_by FROM test.dead_letters")
    assert tuple(row) == ("discarded", None, "ann")


async def test_dead_letters_are_paged_from_the_oldest(inbox: Inbox) -> None:
    for at in range(5):
        await inbox.accept(message(f"m{at}", "u1"))
        await inbox.give_up(await inbox.next())

    first = await inbox.dead_letters.page(limit=2)
    rest = await inbox.dead_letters.page(after=first[-1].arrived)

    assert [one.message_id for one in (*first, *rest)] == ["m0", "m1", "m2", "m3", "m4"]


async def test_a_wait_for_a_person_holds_its_line_and_has_no_end(inbox: Inbox) -> None:
    await inbox.accept(message("a"), message("b"))

    for _ in range(10):
        leased = await inbox.next()
        assert leased.message_id == "a"
        result = await inbox.put_back(
            leased, kind=WaitKind.PERSON, due_s=60, product="crm", end_s=None
        )
        assert result is PutBackResult.WAITS
        inbox.after(100_000)


async def test_names_of_things_made_at_zoho_move_what_waits_for_them(inbox: Inbox) -> None:
    payment = ("payment", "p1")
    await inbox.accept(message("renewed", "u1"), message("refund", None, named=(payment,)))
    renewed, refund = await inbox.leased()
    await inbox.put_back(refund, due_s=60)

    await inbox.settle(renewed, names=[(*payment, "u1")])

    await inbox.accept(message("again", None, named=(payment,)))
    assert await inbox.open() == ["refund", "again"]
    rows = await inbox.pool.fetch("SELECT DISTINCT line FROM test.inbox")
    assert [row["line"] for row in rows] == ["user:u1"]


async def test_a_replayed_message_goes_to_the_line_of_whoever_owns_its_thing_by_now(
    inbox: Inbox,
) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("void", None, named=invoice))
    void = await inbox.next()
    await inbox.give_up(void)
    await inbox.accept(message("create", "u1", names=invoice))

    await inbox.dead_letters.replay(void.arrived, by="ann")

    assert await inbox.open() == ["create", "void"]
    assert await inbox.counts() == (2, 1)


async def test_a_page_of_dead_letters_comes_without_their_bodies(inbox: Inbox) -> None:
    await inbox.accept(message("a", body=b"x" * 5_000))
    await inbox.give_up(await inbox.next())

    [letter] = await inbox.dead_letters.page()

    assert letter.body == b""
    assert letter.size > 5_000
    assert await inbox.dead_letters.open(letter) == b"x" * 5_000
    await inbox.dead_letters.discard(letter.arrived, by="ada")
    with pytest.raises(PermanentError):
        await inbox.dead_letters.open(letter)
