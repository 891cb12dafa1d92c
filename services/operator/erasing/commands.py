"""Erase a user, and show how each erasure stands: `zoho-relay users …`."""

from __future__ import annotations

import asyncio
import getpass
from typing import Annotated
from uuid import uuid4

import typer

from services.operator.access.broker import publish_command
from services.operator.access.database import open_database
from services.operator.console.listing import JsonOption, LimitOption, OrgOption, list_items
from services.operator.console.output import (
    TableRow,
    duration,
    moment,
    print_error,
    print_line,
    show,
)
from services.operator.repositories.erasures import ErasureState, OperatorErasures, UserRows
from services.operator.settings import BrokerSettings
from shared.contracts.commands import UserErasureRequested

app = typer.Typer(no_args_is_help=True, help="Erase users, and see how erasures stand.")

_AT_ZOHO = {
    "billing": "cancels what lives at once, deletes cards, empties the customer, marks it inactive",
    "books": "empties the contact and marks it inactive; invoices stay, and are named",
    "crm": "deletes notes (CRM_ERASURE_NOTES) and tags, and empties the contact",
    "desk": "deletes tickets, comments and attachments (DESK_ERASURE_TICKETS), empties the contact",
}


@app.command("erase")
def erase(
    user_id: Annotated[str, typer.Argument(help="The application's id of the user.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done, and where.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask. For scripts.")] = False,
    org: OrgOption = "default",
) -> None:
    """Erase a user everywhere, for good. Who asked, and when, is kept with the tombstone."""
    command = UserErasureRequested(user_id=user_id)
    asked = asyncio.run(_prepare(org, user_id))
    if asked is not None:
        print_error(f"This user's erasure was asked for at {moment(asked.asked_at)}.")
        raise typer.Exit(1)
    if dry_run:
        return
    if not yes and not typer.confirm(f"Erase user {user_id} for good?"):
        print_error("Nothing was done.")
        raise typer.Exit(1)
    asyncio.run(
        publish_command(
            BrokerSettings.load().amqp_url,
            command.routing_key,
            command.model_dump_json(exclude_unset=True).encode(),
            message_id=f"erase-{uuid4()}",
            headers={"org": org, "x-asked-by": getpass.getuser()},
        )
    )
    print_line("Asked for. `zoho-relay users erasures` shows how it stands.")


@app.command("erasures")
def erasures(
    open_only: Annotated[
        bool, typer.Option("--open", help="Only those that have not ended.")
    ] = False,
    limit: LimitOption = 100,
    as_json: JsonOption = False,
) -> None:
    """List erasures, those that hang first, with what each part waits for."""
    list_items(
        lambda pool: OperatorErasures(pool).states(open_only=open_only, limit=limit),
        _state_row,
        as_json=as_json,
        empty="No erasure was asked for." if not open_only else "No erasure is open.",
    )


async def _prepare(org: str, user_id: str) -> ErasureState | None:
    """Show what there is of the user and what each product does. Returns an earlier erasure."""
    async with open_database() as pool:
        found = OperatorErasures(pool)
        asked = await found.state(org, user_id)
        if asked is None:
            rows = [_rows_row(each) for each in await found.rows_of(org, user_id)]
            show(rows, as_json=False, empty="No service has its tables here.")
            for product in await found.products():
                print_line(f"{product}: {_AT_ZOHO.get(product, 'its own part')}")
    return asked


def _rows_row(each: UserRows) -> TableRow:
    return {
        "service": each.service,
        "rows": each.rows,
        "open_messages": each.open_messages,
        "dead_letters": each.dead_letters,
    }


def _state_row(each: ErasureState) -> TableRow:
    return {
        "org": each.org,
        "user_id": each.user_id,
        "asked_at": moment(each.asked_at),
        "asked_by": each.asked_by or "an application",
        "state": "ended" if each.ended_at else "open",
        "waits_for": ", ".join(each.missing),
        "took": duration(each.age_s),
    }
