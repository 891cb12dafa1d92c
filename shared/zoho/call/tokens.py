"""Access tokens, fetched from token-service and kept in memory until shortly before they expire."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import orjson
from pydantic import SecretStr

from shared.errors import IntegrationError, Misconfigured, RateLimited, Unavailable
from shared.zoho import waits

# What a request may still need once it has its token: connect, write, be answered.
_MARGIN_S: Final = 90.0
_TIMEOUT: Final = aiohttp.ClientTimeout(total=25.0, connect=3.0)

# Codes of token-service that only a person can do something about.
_NEEDS_A_PERSON: Final = frozenset(
    {"refresh_token_dead", "invalid_client", "wrong_data_center", "scope", "not_configured"}
)


@dataclass(frozen=True)
class Token:
    """An access token. `expires_at` and `fetched_at` in epoch seconds. `repr` does not show it."""

    access_token: str = field(repr=False)
    expires_at: float
    api_domain: str
    fetched_at: float = 0.0

    @property
    def sha256(self) -> str:
        """Return a digest that names the token where the token itself must not appear."""
        return hashlib.sha256(self.access_token.encode()).hexdigest()


class Tokens:
    """The client of token-service. One per process.

    `urls`: its replicas, asked in turn until one answers. `observe(org, expires_in_s)` sees every
    token that is fetched.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        key: SecretStr,
        *,
        observe: Callable[[str, float], None] = lambda _org, _s: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._session = session
        self._urls = [url.rstrip("/") for url in urls]
        self._key = key
        self._observe = observe
        self._clock = clock
        self._held: dict[str, Token] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, org: str) -> Token:
        """A token with at least a minute and a half to live, from memory if there is one.

        Raises:
            RateLimited: Zoho's throttle or our mint budget. `limit` is `token`.
            Misconfigured: the refresh token is dead, the client is wrong, our key is wrong.
            Unavailable: no replica of token-service answered, or Zoho's accounts server is out.
        """
        if token := self._fresh(org):
            return token
        async with self._turns[org]:
            return self._fresh(org) or await self._fetch(org, "/v1/token", {"org": org})

    async def replace(self, org: str, refused: Token) -> Token:
        """A token in place of one that Zoho called invalid. Reported once however many ask."""
        async with self._turns[org]:
            held = self._held.get(org)
            if held is not None and held.sha256 != refused.sha256 and self._fresh(org):
                return held  # another task has replaced it already
            self._held.pop(org, None)
            body = {"org": org, "sha256": refused.sha256}
            return await self._fetch(org, "/v1/token/invalid", body)

    def is_new(self, token: Token) -> bool:
        """Whether it was fetched so lately that another one would hardly be treated better."""
        return self._clock() - token.fetched_at < waits.TOKEN_IS_GOOD_S

    def _fresh(self, org: str) -> Token | None:
        token = self._held.get(org)
        return token if token and token.expires_at - self._clock() > _MARGIN_S else None

    async def _fetch(self, org: str, path: str, body: dict[str, str]) -> Token:
        unavailable: IntegrationError | None = None
        for url in list(self._urls):
            try:
                token = await self._ask(url + path, org, body)
            except Unavailable as error:
                unavailable = error
                # Last next time: a replica that is down should cost one time-out, not one a call.
                self._urls.append(self._urls.pop(self._urls.index(url)))
                continue
            self._held[org] = token
            self._observe(org, token.expires_at - self._clock())
            return token
        raise unavailable or Unavailable("no token-service is configured", code="no_token_service")

    async def _ask(self, url: str, org: str, body: dict[str, str]) -> Token:
        try:
            async with self._session.post(
                url,
                data=orjson.dumps(body),
                headers={
                    "Authorization": f"Bearer {self._key.get_secret_value()}",
                    "Content-Type": "application/json",
                },
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as response:
                answer = await _object(response)
                if response.status == 200 and answer.get("access_token"):
                    return Token(
                        answer["access_token"],
                        float(answer["expires_at"]),
                        str(answer.get("api_domain", "")),
                        self._clock(),
                    )
                raise _error(
                    response.status,
                    str(answer.get("code", "")),
                    _retry_after(response),
                    org,
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                "token-service does not answer", code="token_service_unreachable"
            ) from error


async def _object(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        answer = orjson.loads(await response.read())
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _error(status: int, code: str, retry_after_s: float, org: str) -> IntegrationError:
    if status == 401:
        return Misconfigured(
            "token-service refused our key", product="accounts", cause="token_service_key", org=org
        )
    if status == 503 and code in _NEEDS_A_PERSON:
        return Misconfigured(f"no access token: {code}", product="accounts", cause=code, org=org)
    if status == 503 and code in ("cool_down", "mint_budget"):
        return RateLimited(
            f"no access token: {code}",
            retry_after_s=retry_after_s,
            product="accounts",
            limit="token",
        )
    return Unavailable(
        f"no access token: {status} {code}".rstrip(),
        retry_after_s=retry_after_s,
        code="token_unavailable",
    )


def _retry_after(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else waits.AFTER_NO_TOKEN_S
