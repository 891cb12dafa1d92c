"""Check token-service, its credentials, and the scopes that were granted."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp

from services.operator.access.token_service import TokenServiceClient, TokenServiceRefused
from services.operator.console.advice import CAUSES, advice_for
from services.operator.doctor.findings import Findings
from services.operator.settings import TokenSettings
from shared.zoho.products.scopes import missing


async def find_token_service(
    findings: Findings, settings: TokenSettings | None, session: aiohttp.ClientSession, org: str
) -> TokenServiceClient | None:
    """Check every replica. Returns one that answers, or None."""
    if settings is None:
        findings.not_checked("token-service", "connection", "TOKEN_SERVICE_… is not set")
        return None
    answering = None
    for number, url in enumerate(settings.token_service_url, 1):
        client = TokenServiceClient(session, url, settings.token_service_key)
        if await _check_replica(findings, client, number, org):
            answering = answering or client
    if answering is None:
        findings.not_checked("credentials", "access token", "no token-service answers")
    return answering


async def granted_scopes(client: TokenServiceClient, org: str) -> Sequence[str] | None:
    """Return the scopes. Empty when Zoho has not named them, None when there is no token."""
    try:
        await client.token(org)
        return (await client.status(org))["scopes"] or []
    except TokenServiceRefused:
        return None


async def _check_replica(
    findings: Findings, client: TokenServiceClient, number: int, org: str
) -> bool:
    area, name = "token-service", f"replica {number}"
    try:
        await client.status(org)
    except TokenServiceRefused as no:
        match no.code:
            case "wrong_key":
                findings.wrong(area, name, *advice_for("token_service_key"))
            case "unreachable":
                findings.wrong(
                    area, name, "does not answer", "Is it up? Compare TOKEN_SERVICE_URL."
                )
            case code:
                findings.wrong(area, name, f"answered {code}", "See docs/errors.md, and its log.")
        return False
    findings.ok(area, name, "answers")
    return True


async def check_credentials(
    findings: Findings, client: TokenServiceClient, wanted: Sequence[str], org: str
) -> None:
    """Check the stored credentials. Call it after the calls to Zoho.

    Only a call shows that a token which looks good was revoked.
    """
    area = "credentials"
    try:
        await client.token(org)
        state = await client.status(org)
    except TokenServiceRefused as no:
        said, todo = advice_for(no.code) if no.code in CAUSES else (no.code, "See docs/errors.md.")
        findings.wrong(area, "access token", said, todo)
        return
    came_from = "oauth exchange" if state["source"] == "exchange" else "ZOHO_REFRESH_TOKEN"
    findings.ok(area, "refresh token", f"works; it came from {came_from}")
    minutes = int(state["expires_in_s"] // 60)
    findings.ok(
        area,
        "access token",
        f"valid for {minutes} min; {state['mints_left']} of 10 mints left within 10 min",
    )
    if state["problem"]:
        findings.wrong(area, "last refresh", *advice_for(state["problem"]))
    _check_scopes(findings, wanted, state["scopes"] or [])


def _check_scopes(findings: Findings, wanted: Sequence[str], granted: Sequence[str]) -> None:
    area = "scopes"
    if not granted:
        findings.not_checked(
            area,
            "ZOHO_SCOPES",
            "Zoho does not name what was granted; the checks below show the scopes for reading",
            "A missing scope for writing shows at the first write: a breaker opens, cause scope.",
        )
    elif gone := missing(wanted, granted):
        findings.wrong(
            area,
            "ZOHO_SCOPES",
            f"{len(gone)} missing: {', '.join(gone)}",
            "Generate a code with all of `zoho-relay oauth scopes`, then `zoho-relay oauth"
            " exchange`: scopes cannot be added to a token.",
        )
    else:
        findings.ok(area, "ZOHO_SCOPES", f"all {len(wanted)} granted")
