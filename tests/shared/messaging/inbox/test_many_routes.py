"""A lease finds what is due among few routes and among many, where it looks in two ways."""

from __future__ import annotations

import pytest

from tests.shared.messaging.inbox.conftest import ROUTE, Inbox, message

_FEW = {ROUTE: {"billing": 0}, "b.v1": {"crm": 0}}
_MANY = {**_FEW, **{f"other-{number}.v1": {"billing": 0} for number in range(60)}}

few_and_many = pytest.mark.parametrize("routes", [_FEW, _MANY], ids=["few", "many"])


@few_and_many
async def test_what_this_process_has_no_route_for_is_passed_over(
    inbox: Inbox, routes: dict[str, dict[str, int]]
) -> None:
    await inbox.accept(
        message("of another release", "u1", routing_key="a.v1"),
        message("of another organization", "u2", org="other"),
        message("ours", "u3"),
        message("of a later release", "u4", routing_key="z.v1"),
    )

    assert await inbox.ids(routes=routes) == ["ours"]


@few_and_many
async def test_the_urgent_come_first_and_then_the_older_whatever_their_route(
    inbox: Inbox, routes: dict[str, dict[str, int]]
) -> None:
    order = [(route, priority) for priority in (2, 0, 3, 1) for route in ("b.v1", ROUTE)] * 3
    await inbox.accept(
        *(
            message(f"{priority}-{number:02}", f"u{number}", routing_key=route, priority=priority)
            for number, (route, priority) in enumerate(order)
        )
    )

    leased = await inbox.ids(routes=routes)

    assert leased == sorted(leased)
    assert len(leased) == 24


@few_and_many
async def test_of_a_closed_product_nothing_is_leased_at_that_priority(
    inbox: Inbox, routes: dict[str, dict[str, int]]
) -> None:
    await inbox.accept(
        message("billing", "u1"),
        message("crm", "u2", routing_key="b.v1"),
        message("urgent crm", "u3", routing_key="b.v1", priority=0),
    )

    closed = [("default", "crm", 1), ("other", "billing", 1)]
    assert await inbox.ids(routes=routes, closed=closed) == ["urgent crm", "billing"]


@few_and_many
async def test_a_priority_without_slots_is_not_leased(
    inbox: Inbox, routes: dict[str, dict[str, int]]
) -> None:
    await inbox.accept(message("a", "u1", priority=1), message("b", "u2", priority=2))

    assert await inbox.ids(routes=routes, slots={0: 4, 1: 0, 2: 4, 3: 4}) == ["b"]


async def test_every_route_and_priority_is_found_among_many(inbox: Inbox) -> None:
    expected = {f"{route}-{priority}" for route in _MANY for priority in range(4)}
    await inbox.accept(
        *(
            message(name, name, routing_key=name.rpartition("-")[0], priority=int(name[-1]))
            for name in sorted(expected)
        )
    )

    assert set(await inbox.ids(routes=_MANY, limit=1000)) == expected
