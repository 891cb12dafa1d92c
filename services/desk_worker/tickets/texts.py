"""Write the description of a ticket and its comments: all that was sent, in order, nothing cut.

Desk shows a description as HTML and takes 65,535 characters of it, a comment 32,000 of plain text.
What does not fit into the description goes on in private comments. Each comment of ours, and a
description where no custom field carries our id, ends with a line `ref <id>`: there a create whose
answer was lost is recognized.
Source: Zoho's OpenAPI for Desk, `Ticket.json` and `TicketComment.json`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC

from services.desk_worker.tickets.plain_text import plain_text
from shared.contracts.commands import SupportEscalated
from shared.contracts.commands.support import TranscriptTurn
from shared.zoho.products.desk.client import MAX_COMMENT, MAX_DESCRIPTION

TRANSCRIPT_HEADING = "--- Conversation Transcript ---"
_NEW_LINE = "<br />"
_CONTINUED = "\n\n[The conversation goes on in the private comments of this ticket.]"
# A break at the end of a line is worth this many characters of a part.
_SEEK_BREAK = 2_000


@dataclass(frozen=True)
class TicketTexts:
    """The description as HTML, and the parts that did not fit, as plain text."""

    description: str
    more: tuple[str, ...]


def ticket_texts(
    message: SupportEscalated, *, remark: str = "", ref: str | None = None
) -> TicketTexts:
    """Return the description, a blank line, the heading and the transcript.

    `remark` goes before everything. With `ref`, `ref <id>` is the description's last line.
    """
    transcript = _transcript(message.transcript)
    text = _unix_lines(f"{message.description}\n\n{TRANSCRIPT_HEADING}\n{transcript}")
    text = f"{remark}\n\n{text}" if remark else text
    end = f"\n\n{ref_line(ref)}" if ref else ""
    if _html_size(text + end) <= MAX_DESCRIPTION:
        return TicketTexts(as_html(text + end), ())
    room = MAX_DESCRIPTION - _html_size(_CONTINUED + end)
    first, rest = _cut(text, room, _html_cost)
    return TicketTexts(as_html(first + _CONTINUED + end), tuple(comment_parts(rest)))


def comment_parts(text: str) -> Iterator[str]:
    """Yield pieces of at most a comment's length, with room for the reference."""
    rest = _unix_lines(text)
    while rest:
        part, rest = _cut(rest, MAX_COMMENT - 300, _plain_cost)
        yield part


def with_ref(text: str, ref: str) -> str:
    return f"{text}\n\n{ref_line(ref)}"


def ref_line(ref: str) -> str:
    return f"ref {ref}"


def ends_with_ref(content: str | None, ref: str) -> bool:
    """Whether the text, as sent or as Desk made HTML of it, is the one with this reference."""
    return ref_line(ref) in _last_lines(content)


def ends_with_any_ref(content: str | None) -> bool:
    """Whether the text is one of ours."""
    return any(line.startswith(ref_line("")) for line in _last_lines(content))


def _last_lines(content: str | None) -> list[str]:
    texts = (content or "", plain_text(content) or "")
    return [line for text in texts for line in text.strip().splitlines()[-1:]]


def as_html(text: str) -> str:
    """Return HTML that Desk shows as this text: markup escaped, lines broken."""
    return html.escape(text, quote=False).replace("\n", _NEW_LINE)


def _transcript(transcript: str | Sequence[TranscriptTurn]) -> str:
    if isinstance(transcript, str):
        return transcript
    return "\n".join(_turn(turn) for turn in transcript)


def _turn(turn: TranscriptTurn) -> str:
    at = f" [{turn.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC]" if turn.at else ""
    return f"{turn.role}{at}: {turn.text}"


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _cut(text: str, room: int, cost: Callable[[str], int]) -> tuple[str, str]:
    """Split off what fits into `room`, at the end of a line where one is near."""
    used = 0
    for position, char in enumerate(text):
        used += cost(char)
        if used > room:
            line_end = text.rfind("\n", max(0, position - _SEEK_BREAK), position)
            at = line_end + 1 if line_end > 0 else position
            return text[:at], text[at:]
    return text, ""


def _html_size(text: str) -> int:
    return sum(map(_html_cost, text)) if len(text) <= MAX_DESCRIPTION else len(text)


def _html_cost(char: str) -> int:
    return len(as_html(char)) if char in "&<>\n" else _plain_cost(char)


def _plain_cost(char: str) -> int:
    """Return what a character counts. Desk counts as Java does: two beyond the basic plane."""
    return 2 if ord(char) > 0xFFFF else 1
