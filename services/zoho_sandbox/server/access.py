"""Check access tokens and the scopes they carry."""

from __future__ import annotations

from collections.abc import Sequence

from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World


def live_token(world: World, authorization: str) -> Record | None:
    """Return the token named in the header when it is known, active and unexpired.

    Zoho's scheme is `Zoho-oauthtoken`, not `Bearer`.
    """
    return _token(world, authorization) if status_of(world, authorization) == "alive" else None


def status_of(world: World, authorization: str) -> str:
    """Return `alive`, `dead` (expired, killed or revoked), or `unknown`."""
    token = _token(world, authorization)
    if token is None:
        return "unknown"
    expired = token["expires_at"] <= world.clock.now().timestamp()
    return "dead" if expired or token["status"] != "active" else "alive"


def _token(world: World, authorization: str) -> Record | None:
    scheme, _, value = authorization.partition(" ")
    if scheme != "Zoho-oauthtoken" or not value:
        return None
    return world.table("accounts", "tokens").get(value)


def scope_granted(granted: Sequence[str], needed: str) -> bool:
    """Return whether one of `granted` covers `needed`. `a|b` in `needed` means either scope.

    `X.modules.ALL` covers `X.modules.contacts.READ`, and `X.fullaccess.all` covers all of X.
    """
    return any(_covers(have, want) for want in needed.split("|") for have in granted)


def _covers(have: str, want: str) -> bool:
    have_parts, want_parts = have.lower().split("."), want.lower().split(".")
    if have_parts[:2] == [want_parts[0], "fullaccess"]:
        return True
    if have_parts[-1] == "all":
        stem = have_parts[:-1]
        return want_parts[: len(stem)] == stem
    return have_parts == want_parts
