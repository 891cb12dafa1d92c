"""Test that escalations become tickets, once, and that later commands reach them."""

from __future__ import annotations

import html

import pytest

from services.desk_worker import app
from tests.desk_worker.conftest import QUEUE, Desk, escalation, settings
from tests.kit.surroundings import Surroundings


async def test_an_escalation_becomes_a_ticket_with_the_whole_transcript(desk: Desk) -> None:
    ticket = await desk.escalate()

    assert ticket["description"] == (
        "The customer insists on a person.<br /><br />--- Conversation Transcript ---<br />"
        "user: I want &lt;b&gt;a person&lt;/b&gt;.<br />agent: Of course."
    )
    assert (ticket["subject"], ticket["priority"], ticket["status"]) == (
        "Charged twice", "Medium", "Open",
    )  # fmt: skip
    [contact] = await desk.stage.sandbox.records("desk", "contacts")
    assert contact["email"] == "ada@example.com"
    notice = await desk.stage.event("notification.requested.v1", template="ticket_created")
    assert (notice["user_id"], notice["email"]) == ("u1", "ada@example.com")


async def test_no_id_and_no_address_of_zohos_leaves(desk: Desk) -> None:
    ticket = await desk.escalate()
    closed = await desk.staff(ticket, "close", resolution=f"See {ticket['webUrl']}")
    await desk.post_webhook(closed)
    await desk.stage.event("ticket.resolved.v1", escalation_id="e1")

    everything = repr(desk.stage.events)
    assert not [
        zoho for zoho in (ticket["id"], ticket["contactId"], "zoho.com") if zoho in everything
    ]


async def test_the_same_escalation_ten_times_is_one_ticket(desk: Desk) -> None:
    for number in range(10):
        await desk.stage.publish("support.escalated.v1", escalation(), message_id="m1")
        await desk.stage.publish("support.escalated.v1", escalation(), message_id=f"other-{number}")
    await desk.settle()

    ours = [t for t in await desk.tickets() if t["cf"]["cf_app_escalation_id"] == "e1"]
    assert len(ours) == 1
    assert len(desk.events("ticket.created.v1")) == 1


@pytest.mark.parametrize("field", ["cf_app_escalation_id", None])
async def test_a_lost_answer_makes_no_second_ticket(
    around: Surroundings, field: str | None
) -> None:
    chosen = settings(around, zoho_desk_escalation_field=field)
    async with around.running(app.main, chosen, queue=QUEUE) as stage:
        await stage.sandbox.fault("desk", "reset_after", operation="POST /tickets", times=1)

        await stage.publish("support.escalated.v1", escalation())

        await stage.event("ticket.created.v1", escalation_id="e1")
        assert len(await stage.sandbox.records("desk", "tickets")) == 1


async def test_a_refused_ticket_is_sent_again_after_a_read_has_found_desk_well(desk: Desk) -> None:
    await desk.stage.sandbox.post(
        "faults",
        product="desk",
        kind="answer",
        operation="create_ticket",
        times=1,
        status=429,
        body={"errorCode": "TOO_MANY_REQUESTS", "message": "Too many requests."},
    )

    await desk.escalate()

    sent = [request["operation"] for request in await desk.stage.sandbox.requests(product="desk")]
    first, second = (n for n, operation in enumerate(sent) if operation == "create_ticket")
    assert sent[first + 1 : second] == ["list_tickets"]


async def test_a_long_transcript_goes_on_in_private_comments_and_nothing_is_cut(desk: Desk) -> None:
    lines = [f"user: line {number} of <many> & more" for number in range(4_000)]

    ticket = await desk.escalate(transcript="\n".join(lines))

    comments = await desk.comments()
    assert len(ticket["description"]) <= 65_535
    assert "private comments" in ticket["description"]
    assert [c["content"].splitlines()[-1] for c in comments] == [
        f"ref e1/part-{number}" for number in range(1, len(comments) + 1)
    ]
    assert not any(comment["isPublic"] for comment in comments)
    first = html.unescape(ticket["description"].replace("<br />", "\n"))
    parts = [first, *(comment["content"] for comment in comments)]
    assert [line for part in parts for line in part.splitlines() if "line" in line] == lines


async def test_a_transcript_of_a_megabyte_is_there_whole_and_in_order(desk: Desk) -> None:
    lines = [f"user: {n} <b>&amp;</b> ünï 日本語 👋 " + "x" * (n % 700) for n in range(2_600)]
    lines.insert(1_000, "agent: " + "one line without an end, " * 3_000)
    transcript = "\n".join(lines)
    assert len(transcript.encode()) > 1_048_576

    ticket = await desk.escalate(transcript=transcript)

    parts = [html.unescape(ticket["description"].replace("<br />", "\n"))]
    comments = await desk.comments()
    for number, comment in enumerate(comments, start=1):
        content, _, ref = comment["content"].rpartition("\n\n")
        assert ref == f"ref e1/part-{number}"
        parts.append(content)
    goes_on = "\n\n[The conversation goes on in the private comments of this ticket.]"
    whole = parts[0].removesuffix(goes_on) + "".join(parts[1:])
    assert whole.partition("--- Conversation Transcript ---\n")[2] == transcript


async def test_two_equal_messages_stay_two_also_when_their_answers_are_lost(
    around: Surroundings,
) -> None:
    async with around.running(app.main, settings(around), queue=QUEUE) as stage:
        await Desk(stage, around.environment["database_url"]).escalate(
            transcript="user: a\nuser: a"
        )
        await stage.sandbox.fault("desk", "reset_after", operation="create_comment", times=2)
        for message_id in ("m1", "m2"):
            body = {"escalation_id": "e1", "message_id": message_id, "author": "Ada"}
            await stage.publish(
                "support.message_added.v1", {**body, "content": "Hello?", "is_public": False}
            )

        for message_id in ("m1", "m2"):
            await stage.zoho(
                "desk",
                "comments",
                f"comment {message_id}",
                lambda c, m=message_id: c["content"].endswith(f"ref {m}"),
            )
        comments = await stage.sandbox.records("desk", "comments")
        assert len(comments) == 2
        assert {c["content"].partition("\n\n")[0] for c in comments} == {"Ada:\nHello?"}
        [ticket] = await stage.sandbox.records("desk", "tickets")
        assert "user: a<br />user: a" in ticket["description"]


async def test_a_transcript_of_turns_says_who_spoke_and_when(desk: Desk) -> None:
    turns = [
        {"role": "user", "text": "Hello?", "at": "2026-11-01T10:00:00+01:00"},
        {"role": "assistant", "text": "Hi."},
    ]

    ticket = await desk.escalate(transcript=turns)

    assert "user [2026-11-01 09:00:00 UTC]: Hello?<br />assistant: Hi." in ticket["description"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"email": "a..b@example.com"}, "Requester: a..b@example.com"),
        ({"email": "ada@ex_ample.com"}, "Requester: ada@ex_ample.com"),
        ({"priority": "Urgent"}, "Priority asked for: Urgent"),
    ],
)
async def test_what_desk_refuses_is_said_in_the_description_instead(
    desk: Desk, change: dict[str, str], text: str
) -> None:
    ticket = await desk.escalate(**change)

    assert text in ticket["description"]
    assert ticket["priority"] == "Medium"
    replaced = ticket["email"] == "unknown.requester@desk.invalid"
    assert replaced is ("email" in change)  # only what was refused
    notice = await desk.stage.event("notification.requested.v1", template="ticket_created")
    assert notice["email"] == change.get("email", "ada@example.com")


async def test_a_custom_field_that_desk_refuses_costs_the_field_alone(desk: Desk) -> None:
    errors = [{"fieldName": "/cf/cf_app_escalation_id", "errorType": "invalid", "errorMessage": ""}]
    await desk.stage.sandbox.post(
        "faults",
        product="desk",
        operation="create_ticket",
        kind="answer",
        status=422,
        body={"errorCode": "INVALID_DATA", "message": "", "errors": errors},
        times=1,
    )

    await desk.stage.publish("support.escalated.v1", escalation(priority="High"))
    await desk.stage.event("ticket.created.v1", escalation_id="e1")

    [ticket] = await desk.tickets()
    assert (ticket["email"], ticket["priority"]) == ("ada@example.com", "High")
    assert ticket["cf"]["cf_app_escalation_id"] is None
    assert ticket["description"].endswith("ref e1")


async def test_a_field_that_a_ticket_needs_is_not_left_out(desk: Desk) -> None:
    errors = [{"fieldName": "/priority"}, {"fieldName": "/subject"}]
    await desk.stage.sandbox.post(
        "faults",
        product="desk",
        operation="create_ticket",
        kind="answer",
        status=422,
        body={"errorCode": "INVALID_DATA", "message": "", "errors": errors},
    )

    await desk.stage.publish("support.escalated.v1", escalation())

    await desk.stage.event("command.failed.v1", code="zoho_rejected")
    assert await desk.tickets() == []


@pytest.mark.parametrize(
    "other",
    [{"user_id": "u2"}, {"description": "Another problem."}, {"transcript": "user: Hello"}],
)
async def test_the_same_escalation_id_with_other_content_is_refused(
    desk: Desk, other: dict[str, str]
) -> None:
    await desk.escalate()
    same = {"occurred_at": "2026-11-01T10:00:00Z"}  # published again: the same escalation

    await desk.stage.publish("support.escalated.v1", escalation(**same), message_id="again")
    await desk.stage.publish("support.escalated.v1", escalation(**other), message_id="other")

    failed = await desk.stage.event("command.failed.v1", code="id_taken")
    await desk.settle()
    assert failed["message_id"] == "other"
    assert len([b for k, b in desk.stage.events if k == "command.failed.v1"]) == 1
    assert len([t for t in await desk.tickets() if t["cf"]["cf_app_escalation_id"] == "e1"]) == 1


async def test_the_same_message_id_with_another_text_is_refused(desk: Desk) -> None:
    await desk.escalate()
    message = {"escalation_id": "e1", "message_id": "m7", "author": "Ada", "is_public": False}
    await desk.stage.publish("support.message_added.v1", {**message, "content": "One."})
    await desk.stage.zoho("desk", "comments", "comment", lambda c: c)

    await desk.stage.publish("support.message_added.v1", {**message, "content": "Two."})

    await desk.stage.event("command.failed.v1", code="id_taken")
    assert len(await desk.comments()) == 1


@pytest.mark.parametrize("is_public", [True, False])
async def test_a_message_becomes_one_comment_that_ends_with_its_id(
    desk: Desk, is_public: bool
) -> None:
    await desk.escalate()
    await desk.stage.sandbox.fault("desk", "reset_after", operation="create_comment", times=1)
    message = {
        "escalation_id": "e1",
        "message_id": "m7",
        "author": "Ada",
        "content": "One more thing.",
        "is_public": is_public,
    }

    for _ in range(3):
        await desk.stage.publish("support.message_added.v1", message)
    await desk.stage.zoho("desk", "comments", "comment", lambda c: c)
    await desk.settle()

    [comment] = await desk.comments()
    assert comment["content"] == "Ada:\nOne more thing.\n\nref m7"
    assert comment["isPublic"] is is_public


async def test_a_raised_priority_is_announced_once_and_its_reason_is_a_comment(desk: Desk) -> None:
    await desk.escalate()

    raised = {"escalation_id": "e1", "priority": "High", "reason": "An important customer."}
    await desk.stage.publish("support.priority_raised.v1", raised, message_id="m8")

    event = await desk.stage.event("ticket.changed.v1", change="priority")
    ticket = await desk.ticket()
    await desk.post_webhook(ticket)
    await desk.settle()
    assert (event["priority"], ticket["priority"]) == ("High", "High")
    assert len(desk.events("ticket.changed.v1")) == 1
    [comment] = await desk.comments()
    assert comment["content"].endswith("An important customer.\n\nref m8")


async def test_a_closed_ticket_takes_no_escalation(desk: Desk) -> None:
    ticket = await desk.escalate()
    await desk.staff(ticket, "close")

    await desk.stage.publish(
        "support.priority_raised.v1", {"escalation_id": "e1", "priority": "High"}
    )

    failed = await desk.stage.event("command.failed.v1", code="ticket_closed")
    assert failed["routing_key"] == "support.priority_raised.v1"


async def test_the_application_closes_a_ticket_with_its_own_words(desk: Desk) -> None:
    await desk.escalate()

    await desk.stage.publish(
        "support.close_requested.v1", {"escalation_id": "e1", "resolution": "Refunded <50 EUR>."}
    )

    event = await desk.stage.event("ticket.resolved.v1", escalation_id="e1")
    assert event["resolution"] == "Refunded <50 EUR>."
    assert (await desk.ticket())["statusType"] == "Closed"
    notice = await desk.stage.event("notification.requested.v1", template="ticket_resolved")
    assert notice["data"]["resolution"] == "Refunded <50 EUR>."
