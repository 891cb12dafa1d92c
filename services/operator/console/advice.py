"""Advise what to do about each cause that only a person can remove."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

_NEW_CODE: Final = (
    "At Zoho's API console, Self Client, Generate Code, as a user who may do all of this;"
    " then `zoho-relay oauth exchange`. `zoho-relay oauth scopes` prints what to ask for."
)

# By cause of `Misconfigured` or code of token-service: what is wrong, and what to do.
CAUSES: Final = MappingProxyType(
    {
        "refresh_token_dead": (
            "the refresh token no longer works: revoked, mistyped, or made for another client",
            _NEW_CODE,
        ),
        "not_configured": ("there is no refresh token yet", _NEW_CODE),
        "invalid_client": (
            "wrong client: Zoho's accounts server does not know it, or its secret is wrong",
            (
                "Compare ZOHO_CLIENT_ID and ZOHO_CLIENT_SECRET with the API console. A client of"
                " another data centre than ZOHO_DATA_CENTER gives the same error, and each data"
                " centre may have a secret of its own. Then restart token-service."
            ),
        ),
        "wrong_data_center": (
            "wrong data centre: its accounts server answered with a web page",
            (
                "Set ZOHO_DATA_CENTER to where you log in (zoho.com: us, zoho.eu: eu, …), remove"
                " ZOHO_ACCOUNTS_URL unless it is needed, and restart token-service."
            ),
        ),
        "cool_down": (
            "Zoho's accounts server asks us to wait: too many tokens were requested",
            (
                "Wait 10 minutes. Zoho gives out 10 tokens in that time. If it comes back, another"
                " program uses the same client: give that program a client of its own."
            ),
        ),
        "mint_budget": (
            "zoho-relay's own budget of 10 tokens in 10 minutes is used up",
            "Wait 10 minutes. If it comes back, find out which product refuses the tokens.",
        ),
        "accounts_unavailable": (
            "Zoho's accounts server gave no usable answer",
            "Is the network up, and is status.zoho.com quiet? Otherwise try again in a minute.",
        ),
        "token_service_key": (
            "token-service refused TOKEN_SERVICE_KEY",
            "It must be the same for token-service, the workers and this command.",
        ),
        "scope": ("a scope is missing", _NEW_CODE),
        "token": (
            "Zoho refuses a token that was just made",
            "Is ZOHO_DATA_CENTER the one of this organization?",
        ),
        "organization": (
            "the user of this token does not belong to the organization",
            "Compare the organization id with Zoho's. Make the grant code as a user of it.",
        ),
        "permission": (
            "the token's user may not do this",
            "Give that user the right in Zoho, or make the grant code as another one.",
        ),
        "licence": (
            "the edition of this product does not include it",
            "See the edition's limits at Zoho, or upgrade.",
        ),
        "disabled_user": (
            "the user who made the grant code is disabled at Zoho",
            (
                "Enable that user again, or make a grant code as another one: `zoho-relay oauth"
                " exchange`."
            ),
        ),
        "setup": ("Zoho says that the integration is not set up", "See the log of the worker."),
    }
)


def advice_for(cause: str) -> tuple[str, str]:
    """Return what is wrong and what to do, in two sentences."""
    return CAUSES.get(cause, (f"misconfigured: {cause}", "See docs/operations.md."))
