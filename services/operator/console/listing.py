"""List what the database holds: one query, shown as a table or as JSON, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, TypeVar

import asyncpg
import typer

from services.operator.access.database import open_database
from services.operator.console.output import TableRow, print_error, show

_Item = TypeVar("_Item")

JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Rows shown, at most.")]
OrgOption = Annotated[str, typer.Option("--org", help="The organization, as settings name it.")]


def list_items(
    query: Callable[[asyncpg.Pool], Awaitable[Sequence[_Item]]],
    describe: Callable[[_Item], TableRow],
    *,
    as_json: bool,
    empty: str,
) -> None:
    """Run the query and show a row for each item, or `empty` when there is none."""

    async def read() -> list[TableRow]:
        async with open_database() as pool:
            return [describe(item) for item in await query(pool)]

    show(asyncio.run(read()), as_json=as_json, empty=empty)


def print_more(more: Mapping[str, int]) -> None:
    """Say how to go on in each service that has more. Not among the output of programs."""
    for service, after in more.items():
        print_error(f"There are more: go on with --service {service} --after {after}")


def add_list(
    app: typer.Typer,
    name: str,
    query: Callable[[asyncpg.Pool, int], Awaitable[Sequence[_Item]]],
    describe: Callable[[_Item], TableRow],
    *,
    explain: str,
    empty: str,
) -> None:
    """Add a command that lists what `query` returns, at most as many as it is given."""

    @app.command(name, help=explain)
    def show_all(limit: LimitOption = 100, as_json: JsonOption = False) -> None:
        list_items(lambda pool: query(pool, limit), describe, as_json=as_json, empty=empty)
