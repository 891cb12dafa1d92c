"""Operators see who waits for what, since when and until when, and can end that by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.messaging.inbox.arrived_message import WaitsForRelease
from shared.messaging.inbox.inspection import InboxInspection
from shared.messaging.inbox.lines import PutBackResult, WaitKind
from tests.shared.messaging.inbox.conftest import Inbox, message


@pytest.fixture
def inspection(inbox: Inbox) -> InboxInspection:
    return InboxInspection(inbox.pool, "test", clock=inbox.clock)


async def test_the_page_says_what_each_waits_for_since_when_and_until_when(
    inbox: Inbox, inspection: InboxInspection
) -> None:
    await inbox.accept(*[message(f"m{at}", f"u{at}") for at in range(5)])
    fact, time, look, person, leased = await inbox.leased()
    began = inbox.now
    await inbox.wait_for(fact, key="u0", end_s=900)
    await inbox.put_back(time, due_s=60, end_s=3600)
    await inbox.put_back(look, kind=WaitKind.LOOK, due_s=60, end_s=3600)
    await inbox.put_back(person, kind=WaitKind.PERSON, due_s=60, end_s=None, product="crm")
    await inbox.accept(message("behind", "u4"))
    inbox.after(30)

    shown = {one.message_id: one for one in await inspection.page()}

    assert {name: one.waits_for for name, one in shown.items()} == {
        "m0": "fact",
        "m1": "time",
        "m2": "look",
        "m3": "person",
        "m4": "turn",
        "behind": "turn",
    }
    assert shown["m0"].fact == ("user", "u0")
    assert shown["m0"].code == "unknown_user"
    assert (shown["m0"].waiting_since, shown["m0"].ends_at) == (
        began,
        began + timedelta(seconds=900),
    )
    assert (shown["m3"].product, shown["m3"].ends_at) == ("crm", None)
    assert [name for name, one in shown.items() if one.leased] == [leased.message_id]


async def test_the_page_is_filtered_and_goes_on_where_it_ended(
    inbox: Inbox, inspection: InboxInspection
) -> None:
    await inbox.accept(*[message(f"m{at}", f"u{at}") for at in range(5)])
    for one in await inbox.leased(limit=3):
        await inbox.wait_for(one)

    first = await inspection.page(waits_for="fact", fact_kind="user", limit=2)
    rest = await inspection.page(waits_for="fact", after=first[-1].arrived)

    assert [one.message_id for one in (*first, *rest)] == ["m0", "m1", "m2"]
    assert [one.message_id for one in await inspection.page(line="user:u4")] == ["m4"]


async def test_a_wait_that_is_ended_by_hand_looks_once_more_and_ends(
    inbox: Inbox, inspection: InboxInspection
) -> None:
    await inbox.accept(message("a"))
    await inbox.wait_for(await inbox.next())
    [waiting] = await inspection.page()

    assert await inspection.end_wait(waiting.arrived, by="ann")

    leased = await inbox.next()
    assert await inbox.wait_for(leased) is PutBackResult.ENDED
    [done] = await inspection.interventions()
    assert (done.message_id, done.action, done.done_by) == ("a", "end_wait", "ann")


@pytest.mark.parametrize("kind", [WaitKind.TIME, WaitKind.LOOK])
async def test_every_wait_that_is_ended_by_hand_looks_now_and_ends(
    inbox: Inbox, inspection: InboxInspection, kind: WaitKind
) -> None:
    await inbox.accept(message("a"))
    await inbox.put_back(await inbox.next(), kind=kind, due_s=3600, product="crm")
    [waiting] = await inspection.page()

    assert await inspection.end_wait(waiting.arrived, by="ann")

    leased = await inbox.next()
    assert await inbox.put_back(leased, kind=kind, due_s=3600) is PutBackResult.ENDED


@pytest.mark.parametrize(
    ("kind", "code", "end_s"),
    [(WaitKind.PERSON, "unknown_key", None), (WaitKind.TIME, "outcome_unknown", 3600.0)],
)
async def test_who_waits_for_a_person_or_an_unknown_outcome_looks_now_and_waits_on(
    inbox: Inbox, inspection: InboxInspection, kind: WaitKind, code: str, end_s: float | None
) -> None:
    await inbox.accept(message("a"))
    await inbox.put_back(await inbox.next(), kind=kind, code=code, due_s=3600, end_s=end_s)
    [waiting] = await inspection.page()

    assert await inspection.end_wait(waiting.arrived, by="ann")

    leased = await inbox.next()
    result = await inbox.put_back(leased, kind=kind, code=code, due_s=3600, end_s=end_s)
    assert result is PutBackResult.WAITS


async def test_who_waits_for_something_else_after_its_last_look_goes_on_waiting(
    inbox: Inbox, inspection: InboxInspection
) -> None:
    await inbox.accept(message("a"))
    await inbox.put_back(await inbox.next(), kind=WaitKind.LOOK, due_s=3600)
    [waiting] = await inspection.page()
    await inspection.end_wait(waiting.arrived, by="ann")

    assert await inbox.put_back(await inbox.next(), kind=WaitKind.TIME) is PutBackResult.WAITS
    assert await inbox.put_back(await inbox.next(), kind=WaitKind.TIME) is PutBackResult.WAITS


async def test_what_waits_for_a_release_is_given_up_when_its_wait_is_ended_by_hand(
    inbox: Inbox, inspection: InboxInspection
) -> None:
    waits = WaitsForRelease("unknown_command", "no replica knows it", end_s=86_400)
    await inbox.accept(message("new", None, routing_key="new.v2", waits=waits))
    [waiting] = await inspection.page(waits_for="release")

    assert await inspection.end_wait(waiting.arrived, by="ann")

    [ended] = await inbox.ended()
    assert (ended.message_id, ended.code) == ("new", "unknown_command")


async def test_a_message_that_is_given_up_by_hand_is_given_up_by_its_service(
    inbox: Inbox, inspection: InboxInspection
) -> None:
    await inbox.accept(message("a"), message("b"))
    [first, _] = await inspection.page()

    assert await inspection.give_up(first.arrived, by="ann")

    assert await inbox.ids() == ["b"]
    [ended] = await inbox.ended(intake_behind=True, paused=[("default", "user")])
    assert (ended.message_id, ended.code) == ("a", "given_up_by_operator")
    assert await inbox.give_up(ended, "given_up_by_operator")
    [done] = await inspection.interventions()
    assert (done.action, done.done_by, done.done_at) == ("give_up", "ann", inbox.now)


async def test_what_somebody_works_on_is_left_alone(
    inbox: Inbox, inspection: InboxInspection
) -> None:
    await inbox.accept(message("a"))
    leased = await inbox.next()

    assert not await inspection.end_wait(leased.arrived, by="ann")
    assert not await inspection.give_up(leased.arrived, by="ann")
    assert not await inspection.give_up(leased.arrived + 1, by="ann")

    assert await inspection.interventions() == []
    assert await inbox.settle(leased) == {leased.arrived}
