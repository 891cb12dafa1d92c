"""Ask token-service for its state, for a token, or to exchange a grant code."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson
from pydantic import SecretStr

_TIMEOUT = aiohttp.ClientTimeout(total=30.0, connect=3.0)


class TokenServiceRefused(Exception):
    """token-service refused. `code` gives the cause.

    `retry_after_s`: when to ask again. 0: asking again does not help.
    """

    def __init__(self, code: str, retry_after_s: int) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_s = retry_after_s


class TokenServiceClient:
    """Ask one replica.

    Every method raises TokenServiceRefused, with the code `unreachable` when it does not answer.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str, key: SecretStr) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._key = key

    async def status(self, org: str) -> dict[str, Any]:
        return await self._post("/v1/status", {"org": org})

    async def token(self, org: str) -> None:
        """Make sure that there is a token. It is minted if necessary, and never shown."""
        await self._post("/v1/token", {"org": org})

    async def exchange(self, org: str, code: SecretStr) -> list[str] | None:
        """Return the scopes of the refresh token that is stored now. None: Zoho named none."""
        body = {"org": org, "code": code.get_secret_value()}
        answer = await self._post("/v1/exchange", body)
        return answer.get("scopes")

    async def _post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        headers = {
            "Authorization": f"Bearer {self._key.get_secret_value()}",
            "Content-Type": "application/json",
        }
        try:
            async with self._session.post(
                self._url + path,
                data=orjson.dumps(body),
                headers=headers,
                timeout=_TIMEOUT,
                allow_redirects=False,
            ) as response:
                answer = _object(await response.read())
                if response.status == 200:
                    return answer
                code = str(answer.get("code") or f"status_{response.status}")
                after = response.headers.get("Retry-After", "0")
                raise TokenServiceRefused(code, int(after) if after.isdigit() else 0)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise TokenServiceRefused("unreachable", 0) from error


def _object(raw: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
