"""Hand out access tokens, and mint (request) a new one at Zoho only when none is valid."""

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

# Longer than a mint may take. A caller that has waited so long asks the other replica instead.
_MINT_WAIT_S = 20.0

# (org, outcome)
MintObserver = Callable[[str, str], None]


@dataclass(frozen=True)
class TokenState:
    """Show an organization's tokens as they are now.

    Attributes:
        problem: the code of the last mint, when it failed.
        mints_left: how many mints Zoho's limit allows now.
        expires_in_s: the rest of the life of the token that would be handed out. 0 without one.
    """

    refresh_token: KnownToken | None
    problem: str | None
    mints_left: int
    expires_in_s: float


class TokenMinter:
    """Hand out an organization's access token.

    Any number of callers cost one mint. Zoho allows ten in ten minutes. In one process, callers
    that ask at the same time share one task. Replicas take turns under a lock in PostgreSQL, and
    whoever gets it looks first for a token that the one before has minted.
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
        """Return a token that is still valid. Mint one if there is none.

        Raises: NoToken, with a code that does not change between versions.
        """
        task = self._minting.get(org)
        if task is None:
            task = asyncio.create_task(self._find_or_mint(org), name=f"access token of {org}")
            self._minting[org] = task
            task.add_done_callback(lambda done: self._ended(org, done))
        try:
            # Shielded: a cancelled caller must not cancel the mint of the others.
            return await asyncio.wait_for(asyncio.shield(task), _MINT_WAIT_S)
        except TimeoutError:
            raise NoToken("busy", 5.0) from None

    async def replace(self, org: str, sha256: bytes) -> AccessToken:
        """Return a token in place of the one of this `sha256`, which Zoho refused.

        Raises: NoToken, as `token`.
        """
        await self._access_tokens.mark_invalid(org, sha256)
        # A task that began before this may be about to return the refused token.
        if task := self._minting.get(org):
            await asyncio.wait([task], timeout=_MINT_WAIT_S)
        return await self.token(org)

    async def state(self, org: str) -> TokenState:
        """Return the current state, without a call to Zoho."""
        refresh_token = await self._refresh_tokens.newest(org)
        mints_left = await self._mints.left(org)
        if refresh_token is None:
            return TokenState(None, "not_configured", mints_left, 0.0)
        credentials = self._accounts.fingerprint(refresh_token)
        token = await self._access_tokens.usable(org, credentials)
        return TokenState(
            await self._refresh_tokens.known(org),
            await self._mints.problem(org, credentials),
            mints_left,
            token.expires_in_s if token else 0.0,
        )

    async def close(self) -> None:
        """Wait for a mint in progress, because it counts against Zoho's limit already."""
        if self._minting:
            await asyncio.wait(list(self._minting.values()), timeout=_MINT_WAIT_S)

    def _ended(self, org: str, task: asyncio.Task[AccessToken]) -> None:
        self._minting.pop(org, None)
        if not task.cancelled():
            task.exception()  # read here, or asyncio warns when every caller is gone

    async def _find_or_mint(self, org: str) -> AccessToken:
        refresh_token = await self._refresh_tokens.newest(org)
        if refresh_token is None:
            raise NoToken("not_configured", 60.0)
        credentials = self._accounts.fingerprint(refresh_token)
        if token := await self._access_tokens.usable(org, credentials):
            return token
        try:
            return await self._mint(org, credentials, refresh_token)
        except NoToken:
            # While Zoho throttles or is away, a token that is about to expire still serves.
            if token := await self._access_tokens.usable(org, credentials, allow_old=True):
                return token
            raise

    async def _mint(self, org: str, credentials: bytes, refresh_token: SecretStr) -> AccessToken:
        """Mint a token and store it. `credentials` is the fingerprint of those that are used.

        Tokens and failures are stored under it, so that new credentials are tried at once.
        """
        async with self._mints.turn(org):
            if token := await self._access_tokens.usable(org, credentials):
                return token
            if pause := await self._mints.pause(org, credentials):
                raise NoToken(pause.code, pause.retry_after_s)
            number = await self._mints.begin(org)
            try:
                minted = await self._accounts.refresh(refresh_token)
            except NoToken as error:
                await self._mints.failed(number, org, credentials, error.code, error.retry_after_s)
                self._observe(org, error.code)
                _log.error("no access token", org=org, code=error.code)
                raise
            await self._access_tokens.add(
                org,
                credentials,
                minted.access_token,
                api_domain=minted.api_domain,
                expires_in_s=minted.expires_in_s,
            )
            await self._mints.succeeded(number, org, credentials)
            if minted.scopes:
                await self._refresh_tokens.granted(org, refresh_token, minted.scopes)
            self._observe(org, "minted")
            _log.info("access token minted", org=org, expires_in_s=minted.expires_in_s)
        token = await self._access_tokens.usable(org, credentials)
        if token is None:  # somebody has just reported it as refused
            raise NoToken("busy", 1.0)
        return token
