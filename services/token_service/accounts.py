"""Call Zoho's accounts server for tokens, and map its refusals to stable codes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import orjson
from pydantic import SecretStr

from shared.zoho.waits import AFTER_ACCOUNTS_REFUSAL_S

# Zoho's words (docs/zoho/finance.md §1.3). They are the same for a refresh token that is wrong or
# revoked, and for a grant code that is wrong, used or expired.
_CREDENTIAL_IS_DEAD: Final = frozenset({"invalid_code", "invalid_grant"})
_TOO_MANY: Final = 429
_BY_ERROR: Final = {
    "invalid_client": "invalid_client",
    "invalid_client_secret": "invalid_client",
    "Access Denied": "cool_down",
    "general_error": "accounts_unavailable",
}


class NoToken(Exception):
    """No token is available. `code` is the reason, `retry_after_s` the time until the next try.

    0: the same request will fail again.
    """

    def __init__(self, code: str, retry_after_s: float) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class MintedToken:
    """`scopes` were granted, separated by spaces. Empty when the answer has none."""

    access_token: str = field(repr=False)
    api_domain: str
    expires_in_s: float
    scopes: str = ""


@dataclass(frozen=True)
class ExchangedGrant:
    """The tokens that a grant code was exchanged for."""

    refresh_token: SecretStr
    minted: MintedToken


@dataclass(frozen=True)
class OAuthClient:
    """Our registration at Zoho's API console."""

    client_id: str
    client_secret: SecretStr

    def fingerprint(self, refresh_token: SecretStr) -> bytes:
        """A digest that identifies these credentials where they must not appear."""
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

    async def refresh(self, refresh_token: SecretStr) -> MintedToken:
        """Request an access token. The secrets go in the body, never in a URL.

        Only a body with `access_token` is success, because errors come with status 200 too.
        Raises: NoToken.
        Source: docs/zoho/finance.md §1.2, §1.3.
        """
        body = await self._request(
            "refresh_token", "refresh_token_dead", refresh_token=refresh_token.get_secret_value()
        )
        return _minted(body)

    async def exchange(self, code: SecretStr) -> ExchangedGrant:
        """Request a refresh token, and the first access token that comes with it.

        A code works once, for minutes. Raises: NoToken, `grant_code_dead` when it has expired.
        Source: docs/zoho/finance.md §1.2, §1.5.
        """
        body = await self._request(
            "authorization_code", "grant_code_dead", code=code.get_secret_value()
        )
        refresh_token = body.get("refresh_token")
        if not isinstance(refresh_token, str) or not refresh_token:
            raise _no_token("no_refresh_token")
        return ExchangedGrant(SecretStr(refresh_token), _minted(body))

    async def _request(
        self, grant_type: str, code_when_dead: str, **credential: str
    ) -> dict[str, object]:
        form = {
            "grant_type": grant_type,
            "client_id": self._client.client_id,
            "client_secret": self._client.client_secret.get_secret_value(),
            **credential,
        }
        try:
            async with self._session.post(
                self._url, data=form, timeout=self._timeout, allow_redirects=False
            ) as response:
                return _parse(response.status, await response.read(), code_when_dead)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _no_token("accounts_unavailable") from error


def _parse(status: int, raw: bytes, code_when_dead: str) -> dict[str, object]:
    if status == _TOO_MANY:
        raise _no_token("cool_down")
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        # A page: from the wrong data centre, or from a failing server.
        raise _no_token("accounts_unavailable" if status >= 500 else "wrong_data_center")
    token = body.get("access_token")
    if isinstance(token, str) and token:
        return body
    if status >= 500:
        raise _no_token("accounts_unavailable")
    error = str(body.get("error"))
    if error in _CREDENTIAL_IS_DEAD:
        raise _no_token(code_when_dead)
    # The throttle's words are in the language of the caller's country, its status is not.
    unknown = "cool_down" if body.get("status") == "failure" else "not_configured"
    raise _no_token(_BY_ERROR.get(error, unknown))


def _minted(body: dict[str, object]) -> MintedToken:
    return MintedToken(
        str(body["access_token"]),
        str(body.get("api_domain") or ""),
        _expires_in_s(body),
        " ".join(str(body.get("scope") or "").replace(",", " ").split()),
    )


def _expires_in_s(body: dict[str, object]) -> float:
    """Return the token's life. An hour when the answer lacks it, as it sometimes does.

    Source, also for `expires_in_sec`: docs/zoho/finance.md §1.2.
    """
    for name in ("expires_in_sec", "expires_in"):
        try:
            value = float(str(body.get(name)))
        except ValueError:
            continue
        if value > 0:
            # Old servers give milliseconds under this name. An hour is the longest lifetime.
            return min(value, 3600.0)
    return 3600.0


def _no_token(code: str) -> NoToken:
    # Waiting does not help a grant code: the next one is a new one.
    return NoToken(code, AFTER_ACCOUNTS_REFUSAL_S.get(code, 0.0))
