"""Zoho's accounts server: tokens for a refresh token or a grant code, or why there are none."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import orjson
from pydantic import SecretStr

# Code → how long to ask no more. For those that need a person, long enough to be no nuisance and
# short enough to notice that the person was there; new credentials are tried at once.
PAUSE_S: Final = {
    "cool_down": 600.0,  # the throttle's window (finance 1.4)
    "refresh_token_dead": 120.0,
    "invalid_client": 120.0,
    "wrong_data_center": 120.0,
    "not_configured": 120.0,
    "accounts_unavailable": 15.0,
}

# Zoho's words (finance 1.3). One word stands for what was presented: a refresh token that is wrong
# or revoked, or a grant code that is wrong, used or expired.
_PRESENTED_IS_DEAD: Final = frozenset({"invalid_code", "invalid_grant"})
_BY_ERROR: Final = {
    "invalid_client": "invalid_client",
    "invalid_client_secret": "invalid_client",
    "Access Denied": "cool_down",
    "general_error": "accounts_unavailable",
}


class NoToken(Exception):
    """There is no token to be had; `code` says why, `retry_after_s` when to ask again.

    0: asking again for the same is no use.
    """

    def __init__(self, code: str, retry_after_s: float) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Minted:
    """`scopes`: what was granted, separated by spaces; empty when the answer does not say."""

    access_token: str = field(repr=False)
    api_domain: str
    expires_in_s: float
    scopes: str = ""


@dataclass(frozen=True)
class Exchanged:
    """What a grant code was worth."""

    refresh_token: SecretStr
    minted: Minted


@dataclass(frozen=True)
class OAuthClient:
    """Our registration at Zoho's API console."""

    client_id: str
    client_secret: SecretStr

    def fingerprint(self, refresh_token: SecretStr) -> bytes:
        """What names these credentials where they must not appear."""
        parts = (
            self.client_id,
            self.client_secret.get_secret_value(),
            refresh_token.get_secret_value(),
        )
        return hashlib.sha256("\n".join(parts).encode()).digest()


class Accounts:
    """`url` is the accounts server of the client's data centre, without a trailing slash."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        client: OAuthClient,
        *,
        timeout_s: float = 15.0,
    ) -> None:
        self._session = session
        self._url = f"{url}/oauth/v2/token"
        self._client = client
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=5.0)

    def fingerprint(self, refresh_token: SecretStr) -> bytes:
        return self._client.fingerprint(refresh_token)

    async def refresh(self, refresh_token: SecretStr) -> Minted:
        """Ask for an access token. The secrets go in the body, never in a URL.

        Success is only a body with `access_token`: errors come under 200 as well.
        Raises: NoToken.
        Source: finance reference §1.2, §1.3.
        """
        body = await self._ask(
            "refresh_token", "refresh_token_dead", refresh_token=refresh_token.get_secret_value()
        )
        return _minted(body)

    async def exchange(self, code: SecretStr) -> Exchanged:
        """Ask for a refresh token, and the first access token that comes with it.

        A code is good once, for minutes. Raises: NoToken; `grant_code_dead` when it is no longer.
        Source: finance reference §1.2, §1.5.
        """
        body = await self._ask(
            "authorization_code", "grant_code_dead", code=code.get_secret_value()
        )
        refresh_token = body.get("refresh_token")
        if not isinstance(refresh_token, str) or not refresh_token:
            raise _no_token("no_refresh_token")
        return Exchanged(SecretStr(refresh_token), _minted(body))

    async def _ask(self, grant_type: str, when_dead: str, **presented: str) -> dict[str, object]:
        form = {
            "grant_type": grant_type,
            "client_id": self._client.client_id,
            "client_secret": self._client.client_secret.get_secret_value(),
            **presented,
        }
        try:
            async with self._session.post(
                self._url, data=form, timeout=self._timeout, allow_redirects=False
            ) as response:
                return _read(response.status, await response.read(), when_dead)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _no_token("accounts_unavailable") from error


def _read(status: int, raw: bytes, when_dead: str) -> dict[str, object]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        # A page: of the wrong data centre's, or of a server in trouble.
        raise _no_token("accounts_unavailable" if status >= 500 else "wrong_data_center")
    token = body.get("access_token")
    if isinstance(token, str) and token:
        return body
    if status >= 500:
        raise _no_token("accounts_unavailable")
    said = str(body.get("error"))
    if said in _PRESENTED_IS_DEAD:
        raise _no_token(when_dead)
    raise _no_token(_BY_ERROR.get(said, "not_configured"))


def _minted(body: dict[str, object]) -> Minted:
    return Minted(
        str(body["access_token"]),
        str(body.get("api_domain") or ""),
        _expires_in_s(body),
        " ".join(str(body.get("scope") or "").replace(",", " ").split()),
    )


def _expires_in_s(body: dict[str, object]) -> float:
    """An hour; some answers lack it (finance 1.3), and `expires_in_sec` was seen (1.2)."""
    for name in ("expires_in_sec", "expires_in"):
        value = body.get(name)
        if isinstance(value, int | float) and value > 0:
            # Old servers gave milliseconds under this name: an hour is the longest life.
            return min(float(value), 3600.0)
    return 3600.0


def _no_token(code: str) -> NoToken:
    # Of a grant code there is nothing to wait for: the next one is another one.
    return NoToken(code, PAUSE_S.get(code, 0.0))
