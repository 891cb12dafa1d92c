"""`POST /v1/token` and `/v1/token/invalid` for workers, `/v1/exchange` and `/v1/status` for
`zoho-relay`; all for those who know the key."""

from __future__ import annotations

import hmac
import math

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from services.token_service.accounts import NoToken
from services.token_service.grant_exchange import GrantExchange
from services.token_service.minting import TokenMinter
from services.token_service.repositories.access_tokens import AccessToken
from shared.errors import Unavailable
from shared.storage.pool import unavailable_when_down


class TokenRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    org: str = Field(default="default", min_length=1, max_length=128)


class InvalidToken(TokenRequest):
    """`sha256` of the token that Zoho refused, in hex."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class GrantCode(TokenRequest):
    """Of a Self Client."""

    code: SecretStr = Field(min_length=1, max_length=512)


def only_with_key(key: SecretStr) -> Middleware:
    """401 for whoever does not show the key; compared in constant time."""
    wanted = f"Bearer {key.get_secret_value()}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(shown, wanted):
            return _json(401, {"code": "wrong_key"})
        return await handler(request)

    return middleware


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What stands in the way of a token, as the workers understand it."""
    try:
        with unavailable_when_down():
            return await handler(request)
    except NoToken as error:
        if not error.retry_after_s:
            return _json(422, {"code": error.code})
        return _refused(error.code, error.retry_after_s)
    except Unavailable as error:
        return _refused(error.code, error.retry_after_s or 5.0)
    except ValidationError:
        return _json(400, {"code": "invalid_request"})


class TokenHandlers:
    """`orgs`: the organizations there are; another one is 404."""

    def __init__(
        self, governor: TokenMinter, exchange: GrantExchange, orgs: frozenset[str]
    ) -> None:
        self._governor = governor
        self._exchange = exchange
        self._orgs = orgs

    async def token(self, request: web.Request) -> web.Response:
        asked = TokenRequest.model_validate_json(await request.read())
        if asked.org not in self._orgs:
            return _json(404, {"code": "unknown_organization"})
        return _given(await self._governor.token(asked.org))

    async def invalid(self, request: web.Request) -> web.Response:
        asked = InvalidToken.model_validate_json(await request.read())
        if asked.org not in self._orgs:
            return _json(404, {"code": "unknown_organization"})
        digest = bytes.fromhex(asked.sha256)
        return _given(await self._governor.replace(asked.org, digest))

    async def exchange(self, request: web.Request) -> web.Response:
        """`scopes`: what the new refresh token may do, or null when Zoho does not say."""
        asked = GrantCode.model_validate_json(await request.read())
        if asked.org not in self._orgs:
            return _json(404, {"code": "unknown_organization"})
        scopes = await self._exchange.exchange(asked.org, asked.code)
        return _json(200, {"scopes": scopes.split() or None})

    async def status(self, request: web.Request) -> web.Response:
        """How things stand, without a call to Zoho."""
        asked = TokenRequest.model_validate_json(await request.read())
        if asked.org not in self._orgs:
            return _json(404, {"code": "unknown_organization"})
        state = await self._governor.state(asked.org)
        known = state.refresh_token
        return _json(
            200,
            {
                "source": known.source if known else None,
                "stored_at": known.stored_at if known else None,
                "scopes": (known.scopes.split() or None) if known else None,
                "problem": state.problem,
                "mints_left": state.mints_left,
                "expires_in_s": state.expires_in_s,
            },
        )


def _given(token: AccessToken) -> web.Response:
    return _json(
        200,
        {
            "access_token": token.access_token,
            "expires_at": token.expires_at,
            "api_domain": token.api_domain,
        },
    )


def _refused(code: str, retry_after_s: float) -> web.Response:
    response = _json(503, {"code": code})
    response.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    return response


def _json(status: int, body: dict[str, object]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
