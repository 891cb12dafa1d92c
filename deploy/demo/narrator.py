"""How the story is told: with colours and progress to a person, in plain lines to a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH_WHEN_PIPED = 120


class Narrator:
    """Tells chapters and what happened in them. Keeps count of what did not come true."""

    def __init__(self, console: Console | None = None) -> None:
        person = sys.stdout.isatty()
        self._console = console or Console(
            highlight=False, width=None if person else WIDTH_WHEN_PIPED
        )
        self._chapters = 0

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """One step of the story, with its time; a spinner turns while a person waits."""
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

    def published(self, routing_key: str, told: str) -> None:
        self._line("published", "cyan", routing_key, told)

    def zoho_holds(self, what: str, told: str) -> None:
        self._line("Zoho holds", "magenta", what, told)

    def zoho_did(self, what: str, told: str) -> None:
        self._line("Zoho did", "magenta", what, told)

    def came_back(self, routing_key: str, told: str) -> None:
        self._line("came back", "yellow", routing_key, told)

    def _line(self, label: str, colour: str, what: str, told: str) -> None:
        self._console.print(f"   [{colour}]{label:<10}[/{colour}]  {what:<30}  ", end="")
        self._console.print(told, markup=False, soft_wrap=True)

    def quote(self, text: str) -> None:
        for line in text.splitlines():
            self._console.print(f"               {line}", markup=False, soft_wrap=True)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        table = Table(title=title, title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*map(str, row))
        self._console.print()
        self._console.print(table)

    def say(self, text: str) -> None:
        self._console.print(text)

    def failed(self, why: str) -> None:
        self._console.print(f"   [red bold]did not come true[/red bold]: {why}")
