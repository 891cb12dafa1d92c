"""Mint access tokens: once per organization, however many workers request one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from pydantic import SecretStr

from services.token_service.accounts import Accounts, NoToken
from services.token_service.repositories.access_tokens import AccessToken, AccessTokens
from services.token_service.repositories.mints import Mints
from services.token_service.repositories.refresh_tokens import KnownToken, RefreshTokens

_log = structlog.get_logger()

# Longer than a mint may take. A caller that still waits then does better with the other replica.
_MINT_WAIT_S = 20.0

# (org, outcome)
MintObserver = Callable[[str, str], None]


@dataclass(frozen=True)
class TokenState:
    """`problem` is the reason of the last failure. `expires_in_s` belongs to the token that would
    be handed out now, and is 0 without one."""

    refresh_token: KnownToken | None
    problem: str | None
    mints_left: int
    expires_in_s: float


class TokenMinter:
    """Hand out the organization's access token.

    Fifty workers that start cold on two replicas cost one mint. In a process all callers share one
    task. Replicas take turns under a lock in PostgreSQL and check again once they hold it.
    """

    def __init__(
        self,
        accounts: Accounts,
        refresh_tokens: RefreshTokens,
        access_tokens: AccessTokens,
        mints: Mints,
        *,
        observe: MintObserver = lambda _org, _outcome: None,
    ) -> None:
        self._accounts = accounts
        self._refresh_tokens = refresh_tokens
        self._access_tokens = access_tokens
        self._mints = mints
        self._observe = observe
        self._minting: dict[str, asyncio.Task[AccessToken]] = {}

    async def token(self, org: str) -> AccessToken:
        """Return a token that is still valid, minted if there is none.

        Raises: NoToken, with a stable code.
        """
        task = self._minting.get(org)
        if task is None:
            task = asyncio.create_task(self._get(org), name=f"access token of {org}")
            self._minting[org] = task
            task.add_done_callback(lambda done: self._ended(org, done))
        try:
            # Shielded: a cancelled caller must not cancel the mint of the others.
            return await asyncio.wait_for(asyncio.shield(task), _MINT_WAIT_S)
        except TimeoutError:
            raise NoToken("busy", 5.0) from None

    async def replace(self, org: str, sha256: bytes) -> AccessToken:
        """Return a token in place of one that Zoho called invalid. Raises as `token`."""
        await self._access_tokens.mark_invalid(org, sha256)
        # A task that began before the report may be about to return the reported token.
        if task := self._minting.get(org):
            await asyncio.wait([task], timeout=_MINT_WAIT_S)
        return await self.token(org)

    async def state(self, org: str) -> TokenState:
        """Return the current state, without a call to Zoho."""
        refresh_token = await self._refresh_tokens.newest(org)
        mints_left = await self._mints.left(org)
        if refresh_token is None:
            return TokenState(None, "not_configured", mints_left, 0.0)
        client = self._accounts.fingerprint(refresh_token)
        token = await self._access_tokens.usable(org, client)
        return TokenState(
            await self._refresh_tokens.known(org),
            await self._mints.problem(org, client),
            mints_left,
            token.expires_in_s if token else 0.0,
        )

    async def close(self) -> None:
        """Let a mint in progress end, because it has used up budget already."""
        if self._minting:
            await asyncio.wait(list(self._minting.values()), timeout=_MINT_WAIT_S)

    def _ended(self, org: str, task: asyncio.Task[AccessToken]) -> None:
        self._minting.pop(org, None)
        if not task.cancelled():
            task.exception()  # marked as retrieved, even when every caller is gone

    async def _get(self, org: str) -> AccessToken:
        refresh_token = await self._refresh_tokens.newest(org)
        if refresh_token is None:
            raise NoToken("not_configured", 60.0)
        client = self._accounts.fingerprint(refresh_token)
        if token := await self._access_tokens.usable(org, client):
            return token
        try:
            return await self._mint(org, client, refresh_token)
        except NoToken:
            # During throttling or an outage the old token serves to its last minute.
            if token := await self._access_tokens.usable(org, client, allow_old=True):
                return token
            raise

    async def _mint(self, org: str, client: bytes, refresh_token: SecretStr) -> AccessToken:
        async with self._mints.turn(org):
            if token := await self._access_tokens.usable(org, client):
                return token
            if pause := await self._mints.pause(org, client):
                raise NoToken(pause.code, pause.retry_after_s)
            number = await self._mints.begin(org)
            try:
                minted = await self._accounts.refresh(refresh_token)
            except NoToken as error:
                await self._mints.failed(number, org, client, error.code, error.retry_after_s)
                self._observe(org, error.code)
                _log.error("no access token", org=org, code=error.code)
                raise
            await self._access_tokens.add(
                org,
                client,
                minted.access_token,
                api_domain=minted.api_domain,
                expires_in_s=minted.expires_in_s,
            )
            await self._mints.succeeded(number, org, client)
            if minted.scopes:
                await self._refresh_tokens.granted(org, refresh_token, minted.scopes)
            self._observe(org, "minted")
            _log.info("access token minted", org=org, expires_in_s=minted.expires_in_s)
        token = await self._access_tokens.usable(org, client)
        if token is None:  # reported invalid just now
            raise NoToken("busy", 1.0)
        return token
