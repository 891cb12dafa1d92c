"""Test the rules of texts and of changes, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.desk_worker.tickets.addresses import desk_accepts
from services.desk_worker.tickets.plain_text import plain_text
from services.desk_worker.tickets.texts import comment_parts, ends_with_ref, ticket_texts, with_ref
from services.desk_worker.watching.changes import (
    TicketState,
    changes_between,
    distinct_closings,
    unannounced_closings,
)
from shared.contracts.commands import SupportEscalated
from shared.zoho.products.desk.client import MAX_COMMENT, MAX_DESCRIPTION

AT = datetime(2026, 11, 1, 10, tzinfo=UTC)


def java_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        (None, None),
        ("", None),
        ("<div><br></div>", None),
        ("Refunded.\nBye & good luck", "Refunded.\nBye & good luck"),
        ("<p>One</p><p>Two&nbsp;&lt;3</p>", "One\n\nTwo <3"),
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("<style>p {}</style><script>alert(1)</script>x", "x"),
        ("a<br/>b", "a\nb"),
        ("1 < 2", "1 < 2"),
    ],
)
def test_html_becomes_plain_text(markup: str | None, text: str | None) -> None:
    assert plain_text(markup) == text


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab <&\n😀"), min_size=1, max_size=60))
def test_nothing_of_a_long_text_is_lost_and_no_part_is_too_long(text: str) -> None:
    transcript = text * (100_000 // len(text))
    message = SupportEscalated(
        escalation_id="e1", email="a@example.com", subject="s", description="d",
        transcript=transcript,
    )  # fmt: skip

    texts = ticket_texts(message, ref="e1")

    assert java_length(texts.description) <= MAX_DESCRIPTION
    assert all(java_length(with_ref(part, "x" * 150)) <= MAX_COMMENT for part in texts.more)
    assert ends_with_ref(texts.description, "e1")
    assert transcript.endswith("".join(texts.more))


def test_the_parts_of_a_message_are_the_message() -> None:
    text = "line\n" * 20_000
    assert "".join(comment_parts(text)) == text


@pytest.mark.parametrize(
    ("email", "taken"),
    [
        ("ada@example.com", True),
        ("ada+x@sub.example.co", True),
        ("a..b@example.com", False),
        ("a.@example.com", False),
        ("a@ex_ample.com", False),
        ("ä@example.com", False),
        ("a@example.museumofmoderncontemporaryart", False),
    ],
)
def test_addresses_that_desk_accepts(email: str, taken: bool) -> None:
    assert desk_accepts(email) is taken


def state(kind: str, status: str = "", **more: Any) -> TicketState:
    return TicketState(status or kind, kind, modified_at=AT, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "after", "closings", "announced", "kinds"),
    [
        (state("open"), state("open"), [], [], []),
        (state("open"), state("closed"), [AT], [], ["closed"]),
        (state("open"), state("closed"), [AT, AT + timedelta(seconds=1)], [], ["closed", "closed"]),
        (state("open"), state("closed"), [AT], [AT - timedelta(seconds=2)], ["status"]),
        (state("open"), state("closed"), [], [], ["closed"]),
        (state("closed"), state("open"), [], [AT], ["reopened"]),
        (state("open"), state("open"), [AT], [], ["closed", "reopened"]),
        (state("closed"), state("closed"), [AT + timedelta(hours=1)], [AT], ["closed"]),
        (state("open"), state("onhold"), [], [], ["status"]),
        (state("open"), state("open", priority="High"), [], [], ["priority"]),
        (state("open", department=b"a"), state("open", department=b"b"), [], [], ["moved"]),
        (state("open"), state("open", gone=True), [], [], ["deleted"]),
        (state("open", gone=True), state("open", gone=True), [], [], []),
    ],
)
def test_what_has_happened_between_two_states(
    before: TicketState,
    after: TicketState,
    closings: list[datetime],
    announced: list[datetime],
    kinds: list[str],
) -> None:
    changes = changes_between(before, after, closings=closings, announced=announced, seen_at=AT)
    assert [change.kind for change in changes] == kinds


def at(*seconds: float) -> list[datetime]:
    return [AT + timedelta(seconds=each) for each in seconds]


@pytest.mark.parametrize(
    ("last", "history", "announced", "new"),
    [
        ([], [], [], []),
        ([2], [], [], [2]),
        ([2], [1], [], [2]),  # one closing under two times
        ([2], [0, 1], [], [0, 2]),  # two closings, a second apart
        ([2], [0, 1], [0.5], [2]),
        ([2], [0, 1], [2], [0]),
        ([], [0, 1], [0.5, 2], []),
        ([60], [0], [0.5], [60]),  # the history lags
        ([60], [0, 59], [0.5, 60], []),
    ],
)
def test_every_closing_is_new_once(
    last: list[float], history: list[float], announced: list[float], new: list[float]
) -> None:
    closings = distinct_closings(at(*last)[0] if last else None, at(*history))
    assert unannounced_closings(closings, at(*announced)) == at(*new)
