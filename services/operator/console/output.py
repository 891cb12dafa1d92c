"""Show results: a table for people, aligned lines in a pipe, JSON for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

TableRow = dict[str, Any]

_PIPE_WIDTH = 1000  # a pipe has no edge to wrap at


def show(rows: Sequence[TableRow], *, as_json: bool, empty: str) -> None:
    """Show rows under the names of the first row's fields. `empty` when there are none."""
    if as_json:
        sys.stdout.write(orjson.dumps(list(rows), option=orjson.OPT_INDENT_2).decode() + "\n")
        return
    if not rows:
        print_line(empty)
        return
    people = sys.stdout.isatty()
    table = Table(box=None if not people else Table().box, pad_edge=False)
    for name in rows[0]:
        numbers = all(isinstance(row[name], int) for row in rows)
        table.add_column(
            name.replace("_", " "), justify="right" if numbers else "left", no_wrap=not people
        )
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    _console().print(table)


def print_line(text: str) -> None:
    """Print one line, without rich's markup, because ids may hold brackets."""
    sys.stdout.write(text + "\n")


def print_error(text: str) -> None:
    sys.stderr.write(text + "\n")


def duration(seconds: float) -> str:
    """Format as `42s`, `3m`, `5h`, `2d`: the largest unit of which there are two, rounded down."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"


def moment(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else ""


def _cell(value: Any) -> str:
    return escape(str(value))  # applications choose their ids: `[red]` is one, not a colour


def _console() -> Console:
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, width=_PIPE_WIDTH, color_system=None)
