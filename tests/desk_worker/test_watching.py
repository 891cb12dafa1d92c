"""Test that changes of tickets in Desk are announced: each once, whoever saw it first."""

from __future__ import annotations

import asyncio
import itertools

import aiohttp
import asyncpg
import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.ports import free_port
from services.desk_worker import app
from services.zoho_sandbox.driver import Json, SandboxDriver
from tests.desk_worker.conftest import QUEUE, Desk, escalation, settings
from tests.kit.desk_tickets import ticket_by_mail
from tests.kit.surroundings import Surroundings

NEUTRAL = "Your request has been resolved."


async def test_a_closed_ticket_is_announced_with_its_resolution_as_plain_text(desk: Desk) -> None:
    ticket = await desk.escalate()
    closed = await desk.staff(
        ticket, "close", resolution="<div>It was a <b>reservation</b> &amp; is gone.</div>"
    )

    await desk.post_webhook(closed)

    event = await desk.stage.event("ticket.resolved.v1", escalation_id="e1")
    assert event["resolution"] == "It was a reservation & is gone."
    notice = await desk.stage.event("notification.requested.v1", template="ticket_resolved")
    assert (notice["email"], notice["data"]["resolution"]) == (
        "ada@example.com", "It was a reservation & is gone.",
    )  # fmt: skip


async def test_without_a_resolution_the_text_is_neutral(desk: Desk) -> None:
    ticket = await desk.escalate()

    await desk.post_webhook(await desk.staff(ticket, "close"))

    event = await desk.stage.event("ticket.resolved.v1", escalation_id="e1")
    assert event["resolution"] == NEUTRAL


async def test_a_closing_is_announced_once_however_many_webhooks_speak_of_it(desk: Desk) -> None:
    ticket = await desk.escalate()
    closed = await desk.staff(ticket, "close")

    for event in ("Ticket_Update", "Ticket_Update", "Ticket_Comment_Add"):
        await desk.post_webhook({**closed, "ticketId": closed["id"]}, event)
    await desk.stage.event("ticket.resolved.v1", escalation_id="e1")
    await desk.post_webhook(closed)
    await desk.settle()

    assert len(desk.events("ticket.resolved.v1")) == 1
    assert (
        len(
            [
                n
                for n in desk.events("notification.requested.v1")
                if n["template"] == "ticket_resolved"
            ]
        )
        == 1
    )


async def test_reopened_and_closed_again_is_announced_again(desk: Desk) -> None:
    ticket = await desk.escalate()
    await desk.post_webhook(await desk.staff(ticket, "close"))
    first = await desk.stage.event("ticket.resolved.v1", escalation_id="e1")

    await desk.post_webhook(await desk.staff(ticket, "reopen"))
    reopened = await desk.stage.event("ticket.changed.v1", change="reopened")
    await desk.stage.sandbox.load(
        {"desk": {"tickets": [_an_hour_later({**await desk.ticket(), "status": "Closed"})]}}
    )
    await desk.post_webhook(await desk.ticket())

    second = await desk.stage.event("ticket.resolved.v1", version=first["version"] + 2)
    assert reopened["status_type"] == "open"
    assert second["resolved_at"] > first["resolved_at"]


async def test_a_closing_that_only_its_webhook_saw_is_taken_from_the_history(desk: Desk) -> None:
    ticket = await desk.escalate()
    closed = await desk.staff(ticket, "close")
    await desk.staff(ticket, "reopen")

    await desk.post_webhook(closed)

    await desk.stage.event("ticket.resolved.v1", escalation_id="e1")
    await desk.stage.event("ticket.changed.v1", change="reopened")
    await desk.post_webhook(closed)
    await desk.settle()
    assert len(desk.events("ticket.resolved.v1")) == 1


async def test_a_change_without_a_webhook_is_found_by_polling_and_announced_once(
    around: Surroundings,
) -> None:
    often = settings(around, desk_poll_every_s=0.3)
    async with around.running(app.main, often, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        ticket = await desk.escalate()
        await desk.staff(ticket, "close", resolution="Done.")

        event = await stage.event("ticket.resolved.v1", escalation_id="e1")
        await desk.post_webhook(await desk.ticket())
        await desk.settle()

        assert event["resolution"] == "Done."
        assert len(desk.events("ticket.resolved.v1")) == 1


async def test_a_change_of_status_priority_and_department_is_announced(desk: Desk) -> None:
    ticket = await desk.escalate()

    await desk.post_webhook(await desk.staff(ticket, "edit", status="On Hold", priority="High"))
    status = await desk.stage.event("ticket.changed.v1", change="status")
    await desk.stage.event("ticket.changed.v1", change="priority")
    await desk.post_webhook(await desk.staff(ticket, "move"))

    await desk.stage.event("ticket.changed.v1", change="moved")
    assert (status["status"], status["status_type"]) == ("On Hold", "on_hold")
    notice = await desk.stage.event("notification.requested.v1", template="ticket_updated")
    assert notice["data"]["status"] == "On Hold"


async def test_a_merged_and_a_trashed_ticket_are_announced_as_deleted(desk: Desk) -> None:
    merged, trashed = await desk.escalate(), await desk.escalate(escalation_id="e2")

    await desk.staff(merged, "merge")
    await desk.post_webhook(merged, "Ticket_Delete")
    await desk.post_webhook(await desk.staff(trashed, "trash"), "Ticket_Delete")

    for escalation_id in ("e1", "e2"):
        event = await desk.stage.event("ticket.changed.v1", escalation_id=escalation_id)
        assert event["change"] == "deleted"


async def test_a_ticket_that_a_known_user_opened_gets_an_id_of_ours(desk: Desk) -> None:
    mail = by_mail(await desk.escalate())
    await desk.stage.sandbox.load({"desk": {"tickets": [mail]}})

    await desk.post_webhook(mail, "Ticket_Add")
    created = await desk.stage.event("ticket.created.v1", origin="zoho")
    await desk.post_webhook(await desk.staff(mail, "close", resolution="Answered."))

    resolved = await desk.stage.event("ticket.resolved.v1", origin="zoho")
    assert created["user_id"] == resolved["user_id"] == "u1"
    assert resolved["escalation_id"] == created["escalation_id"]
    assert mail["id"] not in created["escalation_id"]


async def test_a_ticket_of_a_user_who_only_signed_up_is_watched(desk: Desk) -> None:
    mail = by_mail(await desk.escalate(user_id="u2", email="bea@example.com"))
    await desk.stage.publish("user.signed_up.v1", {"user_id": "u1", "email": "ada@example.com"})
    await desk.settle()
    await desk.stage.sandbox.load({"desk": {"tickets": [mail]}})

    await desk.post_webhook(mail, "Ticket_Add")

    created = await desk.stage.event("ticket.created.v1", origin="zoho")
    assert created["user_id"] == "u1"


async def test_without_webhooks_a_ticket_of_a_user_who_only_signed_up_is_found_by_polling(
    around: Surroundings,
) -> None:
    often = settings(around, desk_poll_every_s=0.3)
    async with around.running(app.main, often, queue=QUEUE) as stage:
        await stage.publish("user.signed_up.v1", {"user_id": "u1", "email": "ada@example.com"})
        await stage.sandbox.wait_for_request("desk", "search_tickets")
        await stage.sandbox.load({"desk": {"tickets": [ticket_by_mail("ada@example.com")]}})

        created = await stage.event("ticket.created.v1", origin="zoho")

        assert created["user_id"] == "u1"


async def test_a_changed_email_moves_the_user_and_an_older_command_does_not(desk: Desk) -> None:
    user = {"user_id": "u1", "email": "first@example.com"}
    await desk.stage.publish("user.updated.v1", {**user, "email": "ada@example.com"})
    await desk.stage.publish("user.signed_up.v1", user)
    await desk.settle()
    tickets = [
        {**ticket_by_mail("first@example.com", "204600000000777701"), "priority": "Low"},
        ticket_by_mail("ada@example.com"),
    ]
    await desk.stage.sandbox.load({"desk": {"tickets": tickets}})

    for ticket in tickets:
        await desk.post_webhook(ticket, "Ticket_Add")
    await desk.stage.event("ticket.created.v1", origin="zoho")
    await desk.settle()

    made = [b for k, b in desk.stage.events if k == "ticket.created.v1" and b["origin"] == "zoho"]
    assert [event["priority"] for event in made] == ["Medium"]


@pytest.mark.parametrize("action", ["merge", "trash"])
async def test_without_webhooks_a_merged_or_trashed_ticket_is_noticed_within_a_day(
    around: Surroundings, action: str
) -> None:
    often = settings(around, desk_poll_every_s=0.3)
    async with around.running(app.main, often, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        await desk.staff(await desk.escalate(), action)

        await desk.let_a_day_pass()

        event = await stage.event("ticket.changed.v1", escalation_id="e1", change="deleted")
        assert event["status_type"] == "open"


async def test_a_ticket_of_a_user_who_is_being_erased_keeps_no_other_from_being_looked_at(
    around: Surroundings,
) -> None:
    chosen = settings(around, desk_poll_every_s=0.3, erasure_quiet_s=3600.0)
    async with around.running(app.main, chosen, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        await desk.staff(await desk.escalate(), "trash")
        other = await desk.escalate(escalation_id="e2", user_id="u2", email="bob@example.com")
        await desk.staff(other, "trash")
        await stage.publish("user.erasure_requested.v1", {"user_id": "u1"})
        connection = await asyncpg.connect(desk.database_url)
        tombstones = "SELECT count(*) FROM relay.tombstones"
        async with asyncio.timeout(20):
            while not await connection.fetchval(tombstones):  # noqa: ASYNC110 - no event announces it
                await asyncio.sleep(0.02)
        await connection.close()

        await desk.let_a_day_pass()

        await stage.event("ticket.changed.v1", escalation_id="e2", change="deleted")


async def test_without_webhooks_a_move_is_found_by_polling(around: Surroundings) -> None:
    often = settings(around, desk_poll_every_s=0.3)
    async with around.running(app.main, often, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        await desk.staff(await desk.escalate(), "move")

        await stage.event("ticket.changed.v1", escalation_id="e1", change="moved")


async def test_a_ticket_of_a_stranger_is_nobodys_news(desk: Desk) -> None:
    known = await desk.escalate()
    strange = {**known, "id": "204600000000888888", "cf": {"cf_app_escalation_id": None}}
    strange |= {"description": "Hello", "email": "stranger@example.com"}
    await desk.stage.sandbox.load({"desk": {"tickets": [strange]}})

    await desk.post_webhook(strange, "Ticket_Add")
    await desk.settle()

    assert not [body for _, body in desk.stage.events if body.get("origin") == "zoho"]


def by_mail(known: Json) -> Json:
    """Return a ticket that the customer of this one has opened by mail."""
    mail = {**known, "id": "204600000000777777", "cf": {"cf_app_escalation_id": None}}
    return mail | {"subject": "By mail", "description": "Hello", "email": "Ada@example.com"}


def _an_hour_later(ticket: dict[str, object]) -> dict[str, object]:
    """Closed long enough after the first closing to be another one."""
    later = "2099-01-01T00:00:00.000Z"
    return {**ticket, "statusType": "Closed", "closedTime": later, "modifiedTime": later}


async def test_a_public_comment_of_staff_is_announced_and_a_private_one_never(desk: Desk) -> None:
    ticket = await desk.escalate()
    await desk.staff(ticket, "comment", content="<p>We are <i>on it</i>.</p>", isPublic=True)
    await desk.staff(ticket, "comment", content="The user is difficult.", isPublic=False)

    for comment in await desk.comments():
        await desk.post_webhook(comment, "Ticket_Comment_Add")
        await desk.post_webhook(comment, "Ticket_Comment_Add")
    notice = await desk.stage.event("notification.requested.v1", template="ticket_updated")
    await desk.settle()

    assert notice["data"]["content"] == "We are on it."
    assert [event["change"] for event in desk.events("ticket.changed.v1")] == ["comment"]
    assert "difficult" not in repr(desk.stage.events)


@pytest.mark.parametrize("moves", [True, False])
async def test_replies_of_agents_and_customers_are_announced_once_and_agents_ones_notified(
    desk: Desk, *, moves: bool
) -> None:
    await desk.stage.sandbox.set_behaviour(replies_move_modified_time=moves)
    ticket = await desk.escalate()
    for direction in ("in", "out"):
        await desk.staff(ticket, "reply", direction=direction, content="Hello")

    for thread in [*await desk.threads(), *await desk.threads()]:
        await desk.post_webhook(thread, "Ticket_Thread_Add")
    await desk.stage.event("ticket.changed.v1", change="reply")
    await desk.stage.event("ticket.changed.v1", change="customer_reply")
    await desk.settle()

    changes = sorted(event["change"] for event in desk.events("ticket.changed.v1"))
    assert changes == ["customer_reply", "reply"]
    notices = [n["template"] for n in desk.events("notification.requested.v1")]
    assert notices.count("ticket_updated") == 1


@pytest.mark.parametrize("moves", [True, False])
async def test_a_customers_reply_without_a_webhook_is_found_by_polling(
    around: Surroundings, *, moves: bool
) -> None:
    often = settings(around, desk_poll_every_s=0.3)
    async with around.running(app.main, often, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        await stage.sandbox.set_behaviour(replies_move_modified_time=moves)
        ticket = await desk.escalate()
        await desk.staff(ticket, "reply", direction="in", content="Still broken.")

        await stage.event("ticket.changed.v1", change="customer_reply")
        for thread in await desk.threads():
            await desk.post_webhook(thread, "Ticket_Thread_Add")
        await desk.settle()

        assert [e["change"] for e in desk.events("ticket.changed.v1")] == ["customer_reply"]


@pytest.mark.parametrize("status", [403, 422])
async def test_a_ticket_that_cannot_be_read_does_not_stop_the_polling_of_the_others(
    around: Surroundings, status: int
) -> None:
    async with around.running(app.main, settings(around), queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        hidden, seen = await desk.escalate(), await desk.escalate(escalation_id="e2")
        for ticket in (hidden, seen):
            await desk.staff(ticket, "close")
        refused = {"errorCode": "FORBIDDEN" if status == 403 else "INVALID_DATA", "message": ""}
        operation = f"GET /tickets/{hidden['id']}"
        await stage.sandbox.post(
            "faults",
            product="desk",
            operation=operation,
            kind="answer",
            status=status,
            body=refused,
        )

    port = free_port()
    often = settings(around, desk_poll_every_s=0.3, metrics_port=port)
    async with (
        SystemDriver(around.environment["amqp_url"], around.sandbox_url, patience_s=20.0) as stage,
        around.running(app.main, often, queue=QUEUE),
        aiohttp.ClientSession() as client,
    ):
        desk = Desk(stage, around.environment["database_url"])
        await stage.event("ticket.resolved.v1", escalation_id="e2")
        async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert 'tickets_unreadable_total{org="default"}' in await answer.text()
        assert desk.events("ticket.resolved.v1", "e1") == []

        await stage.sandbox.post("faults", product="desk", operation=operation, kind="none")
        await stage.event("ticket.resolved.v1", escalation_id="e1")


async def test_a_ticket_that_polling_finds_while_one_is_being_made_is_not_lost(
    around: Surroundings,
) -> None:
    often = settings(around, desk_poll_every_s=0.3, effect_write_s=60.0, effect_timeout_s=60.0)
    async with around.running(app.main, often, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        known = await desk.escalate()
        await stage.sandbox.fault("desk", "reset_after", operation="create_ticket", times=1)
        await stage.publish("support.escalated.v1", escalation(escalation_id="e2"))
        await stage.sandbox.wait_for_request("desk", "create_ticket", count=2)
        await stage.sandbox.load({"desk": {"tickets": [by_mail(known)]}})

        created = await stage.event("ticket.created.v1", origin="zoho")

        assert created["user_id"] == "u1"
        assert len(desk.events("ticket.created.v1", "e2")) == 0  # nobody may look for it yet


async def test_closings_between_two_polls_are_taken_from_the_history(around: Surroundings) -> None:
    async with around.running(app.main, settings(around), queue=QUEUE) as stage:
        ticket = await Desk(stage, around.environment["database_url"]).escalate()
    async with SandboxDriver(around.sandbox_url) as staff:  # nobody watches
        await staff.ticket(ticket["id"], "close")
        await staff.ticket(ticket["id"], "reopen")

    often = settings(around, desk_poll_every_s=0.3)
    async with (  # listens before the worker starts, which announces at once what it finds
        SystemDriver(around.environment["amqp_url"], around.sandbox_url, patience_s=20.0) as stage,
        around.running(app.main, often, queue=QUEUE),
    ):
        desk = Desk(stage, around.environment["database_url"])
        await desk.settle()
        await stage.event("ticket.resolved.v1", escalation_id="e1")
        await stage.event("ticket.changed.v1", change="reopened")

        assert len(desk.events("ticket.resolved.v1")) == 1


@pytest.mark.parametrize("way", ["webhooks", "polling", "both"])
async def test_closed_reopened_by_a_reply_and_closed_again_is_two_notices(
    around: Surroundings, way: str
) -> None:
    polled = settings(around, desk_poll_every_s=3600.0 if way == "webhooks" else 0.3)
    async with around.running(app.main, polled, queue=QUEUE) as stage:
        desk = Desk(stage, around.environment["database_url"])
        ticket = await desk.escalate()
        before = ticket
        for number, (action, change) in enumerate(
            [("close", None), ("reply", "reopened"), ("close", None)]
        ):
            after = await desk.staff(
                ticket, action, **({"direction": "in"} if action == "reply" else {})
            )
            if way != "polling":
                await desk.post_webhook(after, before=before)
            before = after
            if change:
                await stage.event("ticket.changed.v1", change=change)
            else:
                await _resolved(desk, 1 + number // 2)
        await desk.settle()
        if way != "webhooks":
            await _polled_twice(desk)

        assert len(desk.events("ticket.resolved.v1")) == 2
        assert _notices(desk, "ticket_resolved") == 2


@pytest.mark.parametrize("way", ["webhooks", "polling", "both"])
async def test_two_closings_that_nobody_saw_are_two_notices(around: Surroundings, way: str) -> None:
    """All of it happens before the first webhook is handled, or between two polls."""
    async with around.running(app.main, settings(around), queue=QUEUE) as stage:
        ticket = await Desk(stage, around.environment["database_url"]).escalate()
    states = [ticket]
    async with SandboxDriver(around.sandbox_url) as staff:  # nobody watches
        for action, more in (("close", {}), ("reply", {"direction": "in"}), ("close", {})):
            await staff.ticket(ticket["id"], action, **more)
            held = await staff.records("desk", "tickets")
            states.append(next(t for t in held if t["id"] == ticket["id"]))

    polled = settings(around, desk_poll_every_s=3600.0 if way == "webhooks" else 0.3)
    async with SystemDriver(
        around.environment["amqp_url"], around.sandbox_url, patience_s=20.0
    ) as stage:
        desk = Desk(stage, around.environment["database_url"])
        if way == "webhooks":  # the window of the first poll is not due
            await desk.put_off_polling()
        async with around.running(app.main, polled, queue=QUEUE):
            if way != "polling":
                for before, after in itertools.pairwise(states):
                    await desk.post_webhook(after, before=before)
            await _resolved(desk, 2)
            await desk.settle()
            if way != "webhooks":
                await _polled_twice(desk)

            assert len(desk.events("ticket.resolved.v1")) == 2
            assert _notices(desk, "ticket_resolved") == 2


async def _resolved(desk: Desk, count: int) -> None:
    async with asyncio.timeout(20):
        while len(desk.events("ticket.resolved.v1")) < count:  # noqa: ASYNC110 - counted, not one
            await asyncio.sleep(0.05)


async def _polled_twice(desk: Desk) -> None:
    """Return after two more polls: all that could be found was."""
    searches = await desk.stage.sandbox.requests(product="desk", operation="search_tickets")
    await desk.stage.sandbox.wait_for_request(
        "desk", "search_tickets", since=searches[-1]["id"] if searches else 0, count=4
    )
    await desk.settle()


def _notices(desk: Desk, template: str) -> int:
    notices = desk.events("notification.requested.v1")
    return sum(notice["template"] == template for notice in notices)
