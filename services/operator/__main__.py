"""Assemble the commands of `zoho-relay` and turn errors into exit codes."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import asyncpg
import structlog
import typer

from services.operator.console.output import print_error, print_line
from services.operator.dead_letters import commands as dead_letters
from services.operator.doctor.command import doctor
from services.operator.erasing import commands as erasing
from services.operator.inspection import commands as inspection
from services.operator.inspection.products import products
from services.operator.oauth import commands as oauth
from services.operator.recovery.commands import recover
from shared.environment import SettingsError
from shared.errors import IntegrationError
from shared.version import VERSION


def _show_version(wanted: bool) -> None:
    if wanted:
        print_line(f"zoho-relay {VERSION}")
        raise typer.Exit


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # it would show local variables: URLs with passwords
    help="See what is stuck between the applications and Zoho, and repair it.\n\n"
    "Reads AMQP_URL and DATABASE_URL from the environment, from `.env`, or from the file that"
    " ZOHO_RELAY_ENV_FILE names (after `make up`: .run/settings.env). OPERATOR_AMQP_URL and"
    " OPERATOR_DATABASE_URL take precedence. Exit codes: 0 success, 1 something is wrong or"
    " failed, 2 wrong arguments or settings.",
)


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(inspection.inbox, name="inbox")
app.add_typer(inspection.outbox, name="outbox")
app.add_typer(inspection.effects, name="effects")
app.add_typer(inspection.contacts, name="contacts")
app.add_typer(erasing.app, name="users")
app.command("queues")(inspection.queues)
app.command("products")(products)
app.add_typer(recover, name="recover")
app.add_typer(oauth.app, name="oauth")
app.command("doctor")(doctor)


def main(arguments: list[str] | None = None) -> None:
    """Run the command that `arguments` name, by default those of the process, and exit."""
    # Errors are reported below, once, and not as log lines as well.
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        app(args=arguments)
    except SettingsError as error:
        for problem in error.problems:
            print_error(problem)
        sys.exit(2)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        print_error("This database has no tables of zoho-relay. Has a service been started on it?")
        sys.exit(1)
    except asyncpg.InsufficientPrivilegeError:
        print_error("The role of DATABASE_URL may not read the services' tables.")
        sys.exit(1)
    except IntegrationError as error:
        print_error(f"{error.reason} ({error.code})")
        sys.exit(1)


if __name__ == "__main__":
    main()
