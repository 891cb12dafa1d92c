"""Narrate the story: with colours and progress to a person, in plain lines to a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WHEN_PIPED = 120


class Narrator:
    """Narrates chapters and what happened in them."""

    def __init__(self, console: Console | None = None) -> None:
        person = sys.stdout.isatty()
        self._console = console or Console(
            highlight=False, width=None if person else WIDTH_WHEN_PIPED
        )
        self._chapters = 0
        self._began = time.monotonic()

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """One step of the story, with its time. A spinner turns while a person waits."""
        self._chapters += 1
        heading = f"{self._chapters}. {title}"
        self._console.print(f"\n[bold]{heading}[/bold]")
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(title):
                yield
        else:
            yield
        self._console.print(f"   [green]came true[/green] in {time.monotonic() - started:.1f} s")

    def published(self, routing_key: str, detail: str) -> None:
        self._line("published", "cyan", routing_key, detail)

    def zoho_holds(self, what: str, detail: str) -> None:
        self._line("Zoho holds", "magenta", what, detail)

    def zoho_did(self, what: str, detail: str) -> None:
        self._line("Zoho did", "magenta", what, detail)

    def came_back(self, routing_key: str, detail: str) -> None:
        self._line("came back", "yellow", routing_key, detail)

    def _line(self, label: str, colour: str, what: str, detail: str) -> None:
        # In one print: what ends without a line break, a spinner wipes out.
        line = Text("   ").append(f"{label:<10}", colour).append(f"  {what:<32}  {detail}")
        self._console.print(line, soft_wrap=True)

    def quote(self, text: str) -> None:
        """Print what somebody said, under the line that mentions it."""
        for line in text.splitlines():
            self._console.print(f"               {line}".rstrip(), markup=False, soft_wrap=True)

    def show(self, answer: Mapping[str, Any]) -> None:
        """Print what a reply holds, field by field. Lists of things take a line for each."""
        for field, value in answer.items():
            if _is_list_of_things(value):
                for thing in value:
                    self.quote(f"{field}: {_in_words(thing)}")
            else:
                self.quote(f"{field}: {value}")

    def the_end(self) -> None:
        took_s = time.monotonic() - self._began
        self._console.print(
            f"\n[green bold]The whole story came true[/green bold] in {took_s:.0f} s."
        )

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        table = (
            Table(box=box.ROUNDED) if self._console.is_terminal else Table(box=None, pad_edge=False)
        )
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print(f"\n[bold]{title}[/bold]")
        self._console.print(table)

    def failed(self, why: str) -> None:
        self._console.print(f"   [red bold]did not come true[/red bold]: {why}", soft_wrap=True)


def _is_list_of_things(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) for item in value)


def _in_words(thing: Mapping[str, Any]) -> str:
    """Format as `currency USD, total 38.0; period 2026-11, amount 19.0`."""
    plain = {key: value for key, value in thing.items() if not _is_list_of_things(value)}
    parts = [", ".join(f"{key} {value}" for key, value in plain.items())]
    for value in thing.values():
        if _is_list_of_things(value):
            parts += map(_in_words, value)
    return "; ".join(parts)
