"""Exchange a grant code for a stored refresh token, for `zoho-relay oauth exchange`.

docs/decisions/0020-token-service-exchanges-the-grant-code.md
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from pydantic import SecretStr

from services.token_service.accounts import Accounts, NoToken
from services.token_service.repositories.access_tokens import AccessTokens
from services.token_service.repositories.mints import Mints
from services.token_service.repositories.refresh_tokens import RefreshTokens

_log = structlog.get_logger()

# Zoho's throttle, and our budget that avoids it. Neither may spend a grant code.
_THROTTLED = frozenset({"cool_down", "mint_budget"})


class GrantExchange:
    """Shares the lock, the budget and the tables of `TokenMinter`: one request at a time."""

    def __init__(
        self,
        accounts: Accounts,
        refresh_tokens: RefreshTokens,
        access_tokens: AccessTokens,
        mints: Mints,
        *,
        observe: Callable[[str, str], None] = lambda _org, _outcome: None,
    ) -> None:
        self._accounts = accounts
        self._refresh_tokens = refresh_tokens
        self._access_tokens = access_tokens
        self._mints = mints
        self._observe = observe

    async def exchange(self, org: str, code: SecretStr) -> str:
        """Exchange the code and store its refresh token. Returns its scopes, separated by spaces.

        From then on it is the organization's token. The access token that came with it is kept
        too, so the first worker's request costs no mint.
        Raises: NoToken. Nothing is stored then. `accounts_unavailable` may have spent the code.
        """
        async with self._mints.turn(org):
            before = await self._fingerprint(org)
            pause = await self._mints.pause(org, before)
            if pause and pause.code in _THROTTLED:
                raise NoToken(pause.code, pause.retry_after_s)
            number = await self._mints.begin(org)
            try:
                grant = await self._accounts.exchange(code)
            except NoToken as error:
                await self._failed(number, org, before, error)
                raise
            scopes = grant.minted.scopes
            await self._refresh_tokens.store(
                org, grant.refresh_token, source="exchange", scopes=scopes
            )
            client = self._accounts.fingerprint(grant.refresh_token)
            await self._access_tokens.add(
                org,
                client,
                grant.minted.access_token,
                api_domain=grant.minted.api_domain,
                expires_in_s=grant.minted.expires_in_s,
            )
            await self._mints.succeeded(number, org, client)
        self._observe(org, "exchanged")
        _log.info("refresh token stored", org=org, source="exchange")
        return scopes

    async def _failed(self, number: int, org: str, client: bytes, error: NoToken) -> None:
        self._observe(org, error.code)
        _log.error("grant code not exchanged", org=org, code=error.code)
        if error.code in _THROTTLED:
            # The throttle applies to the client. A refresh now would only prolong it.
            await self._mints.failed(number, org, client, error.code, error.retry_after_s)
        else:
            await self._mints.ended(number, error.code)

    async def _fingerprint(self, org: str) -> bytes:
        known = await self._refresh_tokens.newest(org)
        return self._accounts.fingerprint(known) if known else b""
