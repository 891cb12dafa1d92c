"""Turn a Self Client's grant code into the stored refresh token: `zoho-relay oauth …`."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import aiohttp
import typer
from pydantic import SecretStr

from services.operator.access.token_service import TokenServiceClient, TokenServiceRefused
from services.operator.console.advice import CAUSES, advice_for
from services.operator.console.listing import OrgOption
from services.operator.console.output import print_error, print_line
from services.operator.settings import TokenSettings
from shared.zoho.products.scopes import missing

app = typer.Typer(
    no_args_is_help=True,
    help="Permission at Zoho: which scopes to request, and storing the token that was granted.",
)

# Codes that only an exchange can end with, or that mean something more there.
_EXCHANGE_ADVICE = {
    "grant_code_dead": (
        (
            "Zoho does not accept this code any more: expired (a code lasts minutes), used before,"
            " mistyped, or made for another client than ZOHO_CLIENT_ID"
        ),
        "Generate another one and exchange it at once.",
    ),
    "no_refresh_token": (
        "Zoho gave no refresh token for this code",
        "Use the code of a Self Client.",
    ),
    "accounts_unavailable": (
        "Zoho's accounts server gave no usable answer; the code may be spent",
        "Try again with a new code.",
    ),
    "unreachable": (
        "token-service does not answer; the code may be spent",
        "Is it up? Compare TOKEN_SERVICE_URL. Then try with a new code.",
    ),
    "unknown_organization": ("there is no organization of this name", "Leave --org out."),
}


@app.command("scopes")
def scopes() -> None:
    """Print the scopes to request, as the Self Client's form takes them.

    ZOHO_SCOPES, or all that are needed.
    """
    print_line(",".join(TokenSettings.load().zoho_scopes))


@app.command("exchange")
def exchange(
    code_file: Annotated[
        str | None,
        typer.Option(
            "--code-file",
            help="Read the code from this file, or from the standard input (-). Without it you are"
            " asked, and what you type is not shown. A code is never given on the command line,"
            " because other users of the machine could see it.",
        ),
    ] = None,
    org: OrgOption = "default",
) -> None:
    """Turn a Self Client's grant code into the refresh token that is used from then on.

    At Zoho's API console: Self Client, Generate Code, with the output of `zoho-relay oauth
    scopes`. A code lasts minutes and works once. token-service exchanges it and stores the token,
    sealed. Workers that wait for a token continue by themselves. Lists scopes that are missing.
    """
    settings = TokenSettings.load()
    code = _code(code_file)
    try:
        granted = asyncio.run(_exchange(settings, org, code))
    except TokenServiceRefused as no:
        _explain(no)
        raise typer.Exit(1) from None
    print_line("The refresh token is stored, and used from now on.")
    if granted is None:
        print_line("Zoho does not name its scopes. `zoho-relay doctor` tries those for reading.")
    elif gone := missing(settings.zoho_scopes, granted):
        print_error(f"{len(gone)} scopes are missing:")
        for scope in gone:
            print_error(f"  {scope}")
        print_error("Generate a code with all of `zoho-relay oauth scopes`, and exchange that.")
        raise typer.Exit(1)
    else:
        print_line(f"All {len(settings.zoho_scopes)} scopes are granted.")


async def _exchange(settings: TokenSettings, org: str, code: SecretStr) -> list[str] | None:
    """Exchange by the first replica that answers at all.

    A code works once, so another replica may be asked only before the code was sent.
    """
    async with aiohttp.ClientSession() as session:
        for url in settings.token_service_url:
            client = TokenServiceClient(session, url, settings.token_service_key)
            try:
                await client.status(org)
            except TokenServiceRefused as no:
                if no.code == "unreachable" and url != settings.token_service_url[-1]:
                    continue
                raise
            return await client.exchange(org, code)
    raise TokenServiceRefused("unreachable", 0)


def _code(file: str | None) -> SecretStr:
    if file is None:
        text = typer.prompt("Grant code", hide_input=True)
    elif file == "-":
        text = sys.stdin.read()
    else:
        with open(file) as opened:  # noqa: PTH123
            text = opened.read()
    if not (code := text.strip()):
        raise typer.BadParameter("there is no code in it", param_hint="--code-file")
    return SecretStr(code)


def _explain(no: TokenServiceRefused) -> None:
    if no.code == "wrong_key":
        said, todo = advice_for("token_service_key")
    elif no.code in _EXCHANGE_ADVICE:
        said, todo = _EXCHANGE_ADVICE[no.code]
    elif no.code in CAUSES:
        said, todo = advice_for(no.code)
    else:
        said, todo = no.code, "See docs/errors.md, and token-service's log."
    print_error(f"Nothing was stored: {said} ({no.code}).")
    print_error(todo)
    if no.retry_after_s > 1:
        print_error(f"Wait at least {no.retry_after_s} s.")
