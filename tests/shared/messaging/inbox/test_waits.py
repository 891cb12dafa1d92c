"""A message that waits for a fact leaves its line, is woken by the fact, or ends by its rule."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.messaging.inbox.lines import MessageOutcome, PutBackResult, WaitKind
from tests.shared.messaging.inbox.conftest import Inbox, message


async def test_who_waits_for_a_fact_lets_its_line_go_on(inbox: Inbox) -> None:
    await inbox.accept(message("a"), message("b"))

    assert await inbox.wait_for(await inbox.next()) is PutBackResult.WAITS

    assert await inbox.ids() == ["b"]


async def test_a_recorded_fact_wakes_its_waiters_with_the_commit(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"), message("b", "u2"), message("sign-up", "u3"))
    a, b, sign_up = await inbox.leased()
    await inbox.wait_for(a)
    await inbox.wait_for(b, key="somebody else")

    await inbox.settle(sign_up, facts=[("user", "u1")])

    assert await inbox.ids() == ["a"]


async def test_who_is_woken_by_its_own_line_stands_behind_what_woke_it(inbox: Inbox) -> None:
    await inbox.accept(message("update"), message("sign-up"), message("later"))
    await inbox.wait_for(await inbox.next())
    sign_up = await inbox.next()

    # An early commit: the message that records the fact is still there.
    await inbox.settle(sign_up, outcome=MessageOutcome.KEPT, facts=[("user", "u1")])
    assert await inbox.open() == ["sign-up", "update", "later"]

    await inbox.settle(sign_up)
    assert await inbox.ids() == ["update"]


async def test_who_is_woken_by_another_line_stands_where_it_was(inbox: Inbox) -> None:
    await inbox.accept(message("waits"), message("later"), message("other", "u2"))
    waits, other = await inbox.leased()
    await inbox.wait_for(waits)

    await inbox.settle(other, facts=[("user", "u1")])

    assert await inbox.open() == ["waits", "later"]
    assert await inbox.ids() == ["waits"]


async def test_a_fact_that_was_recorded_after_the_handler_looked_runs_it_again(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a", "u1"), message("sign-up", "u2"))
    waits, sign_up = await inbox.leased()
    await inbox.settle(sign_up, facts=[("user", "u1")])

    assert await inbox.wait_for(waits) is PutBackResult.AGAIN
    # It has looked once more since, and still does not find it.
    assert await inbox.wait_for(waits) is PutBackResult.WAITS


async def test_a_fact_that_was_recorded_before_the_lease_is_no_news(inbox: Inbox) -> None:
    await inbox.accept(message("sign-up", "u2"))
    await inbox.settle(await inbox.next(), facts=[("user", "u1")])
    await inbox.accept(message("a", "u1"))

    assert await inbox.wait_for(await inbox.next()) is PutBackResult.WAITS


async def test_a_loser_records_neither_facts_nor_names(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"), message("b", "u2"))
    waits, loser = await inbox.leased(lease_s=10)
    await inbox.wait_for(waits)
    inbox.after(11)
    await inbox.next()

    won = await inbox.settle(loser, facts=[("user", "u1")], names=[("invoice", "i1", "u9")])

    assert won == set()
    assert await inbox.leased() == []
    assert await inbox.pool.fetchval("SELECT count(*) FROM test.names") == 0


async def test_a_wait_for_a_fact_ends_after_the_time_that_counted(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next(), end_s=100)

    for _ in range(19):
        inbox.after(5)
        assert await inbox.ended() == []
    inbox.after(6)
    [ended] = await inbox.ended()

    assert (ended.message_id, ended.code) == ("a", "unknown_user")
    assert await inbox.give_up(ended, "unknown_user")
    assert await inbox.counts() == (0, 0)


async def test_an_ended_wait_that_nobody_settles_is_returned_again(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next(), end_s=1)
    inbox.after(2)
    [former] = await inbox.ended()
    assert await inbox.ended() == []

    inbox.after(61)
    [ended] = await inbox.ended()

    assert not await inbox.give_up(former)
    assert await inbox.give_up(ended)


async def test_a_fact_in_the_last_moment_wins_over_the_end(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"), message("sign-up", "u2"))
    waits, sign_up = await inbox.leased()
    await inbox.wait_for(waits, end_s=1)
    inbox.after(2)
    [ended] = await inbox.ended()

    await inbox.settle(sign_up, facts=[("user", "u1")])

    assert not await inbox.give_up(ended)
    assert await inbox.ids() == ["a"]


async def _until_ended(inbox: Inbox, step_s: float, steps: int, **holds: object) -> int | None:
    for step in range(1, steps + 1):
        inbox.after(step_s)
        if await inbox.ended(**holds):
            return step
    return None


async def test_no_end_counts_while_intake_is_behind_but_ten_times_its_length_ends_it(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next(), end_s=100)

    assert await _until_ended(inbox, 5, 300, intake_behind=True) == 200


async def test_no_end_counts_while_the_product_is_paused_however_long(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next(), end_s=100)

    assert await _until_ended(inbox, 5, 300, paused=[("default", "user")]) is None
    # Nothing could have ended it, so it is as long as it was.
    assert await _until_ended(inbox, 5, 300) in (20, 21)


async def test_no_end_counts_while_a_message_that_may_record_the_fact_is_open(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a", "u1"))
    await inbox.wait_for(await inbox.next(), end_s=100)
    await inbox.accept(message("sign-up", "u2", records=("user", "contact")))

    assert await _until_ended(inbox, 5, 40) is None
    sign_up = await inbox.next()
    await inbox.settle(sign_up)
    assert await _until_ended(inbox, 5, 40) in (20, 21)


async def test_only_messages_of_its_own_line_hold_an_end_where_only_those_can_record_it(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a", "u1"))
    await inbox.wait_for(await inbox.next(), end_s=100)
    await inbox.accept(message("sign-up", "u2", records=("user",)))

    assert await _until_ended(inbox, 5, 40, same_line=["user"]) in (20, 21)


async def test_a_message_that_waits_for_a_fact_itself_holds_no_end(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"), message("b", "u2", records=("user",)))
    a, b = await inbox.leased()
    await inbox.wait_for(a, end_s=100)
    await inbox.wait_for(b, key="b", end_s=1000)

    assert await _until_ended(inbox, 5, 40) in (20, 21)


async def test_no_end_counts_while_no_replica_runs(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next(), end_s=100)

    inbox.after(2 * 86_400)

    assert await _until_ended(inbox, 5, 40) in (18, 19)


async def test_giving_up_what_names_a_thing_makes_its_waiters_look_once_more(
    inbox: Inbox,
) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("create", names=invoice), message("void", None, named=invoice))
    create = await inbox.next()
    await inbox.accept(message("show", "u9"))
    show = await inbox.next()
    await inbox.wait_for(show, "invoice", "i1")

    await inbox.give_up(create, "zoho_rejected")

    leased = {m.message_id: m for m in await inbox.leased()}
    assert set(leased) == {"void", "show"}
    assert await inbox.wait_for(leased["show"], "invoice", "i1") is PutBackResult.ENDED
    assert await inbox.give_up(leased["show"], "unknown_invoice")


async def test_a_last_look_is_not_the_last_for_another_fact(inbox: Inbox) -> None:
    await inbox.accept(message("create", names=(("invoice", "i1"),)), message("show", "u9"))
    create, show = await inbox.leased()
    await inbox.wait_for(show, "invoice", "i1")
    await inbox.give_up(create)

    show = await inbox.next()
    assert await inbox.wait_for(show, "user", "u9") is PutBackResult.WAITS


async def test_a_name_is_inherited_by_the_next_open_message_that_names_the_same(
    inbox: Inbox,
) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("show", "u9"))
    await inbox.wait_for(await inbox.next(), "invoice", "i1")
    await inbox.accept(
        message("create", "u1", names=invoice), message("again", "u2", names=invoice)
    )
    create, again = await inbox.leased()

    await inbox.give_up(create, "zoho_rejected")

    assert await inbox.ids() == []  # who waits for it waits for the heir
    await inbox.accept(message("void", None, named=invoice))
    await inbox.settle(again, facts=[("invoice", "i1")])
    show, void = await inbox.leased()
    assert (show.message_id, void.message_id, void.line) == ("show", "void", "user:u2")


async def test_who_waits_looks_once_more_when_the_last_that_names_it_is_given_up(
    inbox: Inbox,
) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("show", "u9"))
    await inbox.wait_for(await inbox.next(), "invoice", "i1")
    await inbox.accept(
        message("create", "u1", names=invoice), message("again", "u2", names=invoice)
    )
    create, again = await inbox.leased()

    await inbox.give_up(again)
    assert await inbox.ids() == []
    await inbox.give_up(create)

    show = await inbox.next()
    assert await inbox.wait_for(show, "invoice", "i1") is PutBackResult.ENDED


async def test_a_replayed_message_is_an_heir_of_what_it_had_named(inbox: Inbox) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(
        message("create", "u1", names=invoice), message("again", "u2", names=invoice)
    )
    create, again = await inbox.leased()
    await inbox.give_up(create)
    await inbox.dead_letters.replay(create.arrived, by="ann")

    await inbox.give_up(again)

    await inbox.accept(message("void", None, named=invoice))
    assert await inbox.pool.fetch("SELECT line FROM test.inbox GROUP BY line") == [("user:u1",)]


async def test_a_name_stays_with_whoever_is_done_with_the_thing(inbox: Inbox) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(
        message("create", "u1", names=invoice), message("again", "u2", names=invoice)
    )
    create, again = await inbox.leased()

    await inbox.settle(again, facts=[("invoice", "i1")])
    await inbox.give_up(create)

    await inbox.accept(message("void", None, named=invoice))
    assert (await inbox.next()).line == "user:u2"
    assert await inbox.pool.fetchval("SELECT count(*) FROM test.name_heirs") == 0


async def test_a_freed_name_belongs_to_whoever_names_it_next_or_to_the_replay(
    inbox: Inbox,
) -> None:
    invoice = (("invoice", "i1"),)
    await inbox.accept(message("create", names=invoice))
    create = await inbox.next()
    await inbox.give_up(create)
    await inbox.accept(message("void", None, named=invoice))
    assert (await inbox.next(lease_s=0)).line == "invoice:i1"

    await inbox.dead_letters.replay(create.arrived, by="ann")

    inbox.after(1)
    assert await inbox.pool.fetchval("SELECT line FROM test.names") == "user:u1"
    await inbox.leased()
    rows = await inbox.pool.fetch("SELECT DISTINCT line FROM test.inbox")
    assert [row["line"] for row in rows] == ["user:u1"]


async def test_a_look_again_leaves_its_line_and_comes_back_where_it_was(inbox: Inbox) -> None:
    await inbox.accept(message("a"), message("b"), message("c"))
    await inbox.put_back(await inbox.next(), kind=WaitKind.LOOK, due_s=60)
    b = await inbox.next(lease_s=100)
    assert b.message_id == "b"

    inbox.after(61)
    assert await inbox.leased() == []
    await inbox.settle(b)

    again = await inbox.next()
    assert again.message_id == "a"
    assert again.waited_s >= 60


async def test_looks_and_waits_for_time_end_when_they_have_lasted_long_enough(
    inbox: Inbox,
) -> None:
    for kind in (WaitKind.LOOK, WaitKind.TIME):
        await inbox.accept(message(kind.value))
        results = []
        for _ in range(5):
            leased = await inbox.next()
            results.append(await inbox.put_back(leased, kind=kind, due_s=30, end_s=100))
            inbox.after(31)
        assert results == [*[PutBackResult.WAITS] * 4, PutBackResult.ENDED]
        assert await inbox.give_up(leased)


async def test_a_wait_of_62_seconds_lasts_62_seconds(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.put_back(await inbox.next(), due_s=62)

    inbox.after(61.9)
    assert await inbox.ids() == []
    inbox.after(0.1)
    assert await inbox.ids() == ["a"]


async def test_a_backlog_of_hours_gives_up_nothing_that_waits_for_what_is_in_it(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("note", "u1"))
    await inbox.wait_for(await inbox.next(), end_s=900)

    for _ in range(2 * 60):  # the sign-up lies in the queue
        inbox.after(60)
        assert await inbox.ended(intake_behind=True) == []
    await inbox.accept(message("sign-up", "u1"))
    await inbox.settle(await inbox.next(), facts=[("user", "u1")])

    assert await inbox.ids() == ["note"]
    assert await inbox.dead_letters.page() == []


async def test_what_never_comes_is_given_up_after_a_backlog_of_hours_as_after_none(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("note", "u1"))
    await inbox.wait_for(await inbox.next(), end_s=900)
    for _ in range(2 * 60):
        inbox.after(60)
        await inbox.ended(intake_behind=True)

    assert await _until_ended(inbox, 60, 30) in (15, 16)


async def test_many_that_end_at_once_come_without_what_is_large_of_them(inbox: Inbox) -> None:
    await inbox.accept(message("large", "u1", body=b"x" * 5_000), message("small", "u2"))
    for waiting in await inbox.leased():
        await inbox.wait_for(waiting, end_s=1)
    inbox.after(2)

    ended = {one.message_id: one for one in await inbox.ended()}

    assert ended["large"].body == b""
    sealed = await inbox.lines.body(ended["large"].arrived)
    assert sealed is not None
    context = ended["large"].sealing_context
    assert await inbox.vault.open_bytes(sealed, context) == b"x" * 5_000
    assert await inbox.vault.open_bytes(ended["small"].body, context.replace("large", "small"))


async def test_no_end_counts_while_whoever_records_the_fact_is_behind_since_before_the_wait(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"))
    since = inbox.now
    inbox.after(1)
    await inbox.wait_for(await inbox.next(), "contact", end_s=100)

    assert await _until_ended(inbox, 5, 40, behind=[("default", "contact", since)]) is None
    assert await _until_ended(inbox, 5, 40) in (20, 21)


async def test_whoever_records_the_fact_may_be_behind_on_what_came_after_the_wait_began(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next(), "contact", end_s=100)
    since = inbox.now + timedelta(seconds=1)

    assert await _until_ended(inbox, 5, 40, behind=[("default", "contact", since)]) in (20, 21)


async def test_whoever_records_other_facts_may_be_behind(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next(), "contact", end_s=100)
    behind = [("default", "invoice", inbox.now), ("other", "contact", inbox.now)]

    assert await _until_ended(inbox, 5, 40, behind=behind) in (20, 21)


async def test_ten_times_its_length_ends_a_wait_also_while_whoever_records_it_is_behind(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next(), "contact", end_s=100)

    assert await _until_ended(inbox, 5, 300, behind=[("default", "contact", inbox.now)]) == 200


INVOICE = (("invoice", "i1"),)


async def test_a_void_waits_for_as_long_as_the_create_before_it(inbox: Inbox) -> None:
    await inbox.accept(
        message("create", names=INVOICE, records=("invoice",)),
        message("void", None, named=INVOICE),
    )
    await inbox.put_back(await inbox.next(), kind=WaitKind.LOOK, due_s=5000, end_s=20_000)
    await inbox.wait_for(await inbox.next(), "invoice", "i1", end_s=100)

    assert await _until_ended(inbox, 5, 900) is None  # more than ten times its length
    inbox.after(500)
    await inbox.settle(await inbox.next(), facts=[("invoice", "i1")])

    assert await inbox.ids() == ["void"]


async def test_a_void_ends_once_the_create_before_it_is_gone(inbox: Inbox) -> None:
    await inbox.accept(message("create", records=("invoice",)), message("void", "u2"))
    create, void = await inbox.leased(lease_s=10_000)
    await inbox.wait_for(void, "invoice", "i1", end_s=100)
    assert await _until_ended(inbox, 5, 300) is None

    await inbox.settle(create)

    assert await _until_ended(inbox, 5, 1) == 1


async def test_who_waits_for_a_person_holds_what_came_later_no_longer_than_ten_times_its_length(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("create", records=("invoice",)), message("void", "u2"))
    create, void = await inbox.leased(lease_s=10_000)
    await inbox.put_back(create, kind=WaitKind.PERSON, due_s=60, end_s=None, product="books")
    await inbox.wait_for(void, "invoice", "i1", end_s=100)

    assert await _until_ended(inbox, 5, 300) == 200


async def test_who_waits_for_a_person_holds_no_look_of_what_came_later(inbox: Inbox) -> None:
    await inbox.accept(message("create", records=("invoice",)), message("void", "u2"))
    create, void = await inbox.leased(lease_s=10_000)
    await inbox.put_back(create, kind=WaitKind.PERSON, due_s=60, end_s=None, product="books")
    await inbox.wait_for(void, "invoice", "i1", end_s=100)
    for _ in range(199):
        inbox.after(5)
        assert not await inbox.ended()
    await inbox.settle(facts=[("invoice", "i1")])  # of another time: the handler does not find it

    leased = await inbox.leased(lease_s=10_000)
    void = next(one for one in leased if one.message_id == "void")
    inbox.after(10)
    assert await inbox.wait_for(void, "invoice", "i1", end_s=100) is PutBackResult.ENDED


async def test_a_sign_up_that_waits_for_a_person_holds_its_line_no_longer(inbox: Inbox) -> None:
    await inbox.accept(message("sign-up", records=("user",)), message("update"))
    await inbox.put_back(await inbox.next(), kind=WaitKind.LOOK, due_s=5000, end_s=20_000)
    await inbox.wait_for(await inbox.next(), end_s=100)
    await inbox.pool.execute(
        "UPDATE test.inbox SET state = 'in_line', wait = 'person' WHERE message_id = 'sign-up'"
    )

    assert await _until_ended(inbox, 5, 300, same_line=["user"]) == 200


async def test_what_arrived_later_holds_a_wait_no_longer_than_ten_times_its_length(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("void", "u1"), message("create", "u2", records=("invoice",)))
    void, create = await inbox.leased(lease_s=10_000)
    await inbox.wait_for(void, "invoice", "i1", end_s=100)

    assert await _until_ended(inbox, 5, 300) == 200
    assert await inbox.settle(create)


async def test_a_sign_up_of_its_own_line_holds_a_wait_for_as_long_as_it_is_open(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("sign-up", records=("user",)), message("update"))
    await inbox.put_back(await inbox.next(), kind=WaitKind.LOOK, due_s=5000, end_s=20_000)
    await inbox.wait_for(await inbox.next(), end_s=100)

    assert await _until_ended(inbox, 5, 300, same_line=["user"]) is None


async def test_who_is_woken_late_goes_on_waiting_while_what_came_before_may_record_the_fact(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("create", records=("invoice",)), message("void", "u2"))
    create, void = await inbox.leased(lease_s=10_000)
    await inbox.wait_for(void, "invoice", "i1", end_s=100)
    assert await _until_ended(inbox, 5, 300) is None
    await inbox.settle(facts=[("invoice", "i1")])  # of another time: the handler does not find it

    void = await inbox.next()
    assert await inbox.wait_for(void, "invoice", "i1", end_s=100) is PutBackResult.WAITS

    await inbox.settle(create, facts=[("invoice", "i1")])
    void = await inbox.next()
    assert await inbox.wait_for(void, "invoice", "i1", end_s=100) is PutBackResult.ENDED


@pytest.mark.parametrize("kind", [WaitKind.LOOK, WaitKind.TIME])
async def test_a_weekend_in_which_nobody_leased_it_ends_no_wait(
    inbox: Inbox, kind: WaitKind
) -> None:
    await inbox.accept(message("a"))
    await inbox.put_back(await inbox.next(), kind=kind, due_s=60, end_s=1000)

    inbox.after(60 + 2 * 86_400)  # its product is paused
    assert await inbox.put_back(await inbox.next(), kind=kind, due_s=60, end_s=1000) is (
        PutBackResult.WAITS
    )
    inbox.after(60 + 2 * 86_400)
    assert await inbox.put_back(await inbox.next(), kind=kind, due_s=60, end_s=1000) is (
        PutBackResult.WAITS
    )


async def test_a_weekend_in_which_nobody_leased_who_was_woken_ends_no_wait(inbox: Inbox) -> None:
    await inbox.accept(message("a", "u1"))
    await inbox.wait_for(await inbox.next(), "invoice", "i1", end_s=900)
    await inbox.settle(facts=[("invoice", "i1")])

    inbox.after(2 * 86_400)

    a = await inbox.next()
    assert await inbox.wait_for(a, "invoice", "i1", end_s=900) is PutBackResult.WAITS
    assert await _until_ended(inbox, 60, 30) in (15, 16)


async def test_an_hour_of_work_on_it_counts_towards_ten_times_its_length(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    for _ in range(2):
        leased = await inbox.next(lease_s=10_000)
        inbox.after(3600)
        result = await inbox.put_back(leased, due_s=0, end_s=300)

    assert result is PutBackResult.ENDED


async def test_what_was_overdue_is_forgotten_when_another_wait_begins(inbox: Inbox) -> None:
    await inbox.accept(message("a"))
    await inbox.put_back(await inbox.next(), due_s=60, end_s=1000)
    inbox.after(60 + 86_400)
    await inbox.put_back(await inbox.next(), due_s=60, end_s=1000)
    inbox.after(60)

    await inbox.wait_for(await inbox.next(), end_s=100)

    assert await _until_ended(inbox, 5, 300, intake_behind=True) == 200


async def test_what_passes_between_a_fact_and_the_look_for_it_counts_nothing(
    inbox: Inbox,
) -> None:
    await inbox.accept(message("a", "u1"))
    await inbox.wait_for(await inbox.next(), "invoice", "i1", end_s=50)
    assert await _until_ended(inbox, 5, 8, intake_behind=True) is None
    await inbox.settle(facts=[("invoice", "i1")])  # of another time: the handler does not find it
    inbox.after(60)

    a = await inbox.next()
    assert await inbox.wait_for(a, "invoice", "i1", end_s=50) is PutBackResult.WAITS
