"""Serve `POST /v1/token` and `/v1/token/invalid` for workers, `/v1/exchange` and `/v1/status` for
`zoho-relay`. All require the key."""

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
    """The grant code of a Self Client."""

    code: SecretStr = Field(min_length=1, max_length=512)


def require_key(key: SecretStr) -> Middleware:
    """Answer 401 without the key, which is compared in constant time."""
    expected = f"Bearer {key.get_secret_value()}".encode()

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        presented = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(presented, expected):
            return _json(401, {"code": "wrong_key"})
        return await handler(request)

    return middleware


@web.middleware
async def errors_as_responses(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into the answers that the workers understand."""
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
    """`orgs` are the known organizations. Another one is answered with 404."""

    def __init__(self, minter: TokenMinter, exchange: GrantExchange, orgs: frozenset[str]) -> None:
        self._minter = minter
        self._exchange = exchange
        self._orgs = orgs

    async def token(self, request: web.Request) -> web.Response:
        body = TokenRequest.model_validate_json(await request.read())
        if body.org not in self._orgs:
            return _json(404, {"code": "unknown_organization"})
        return _token_response(await self._minter.token(body.org))

    async def invalid(self, request: web.Request) -> web.Response:
        body = InvalidToken.model_validate_json(await request.read())
        if body.org not in self._orgs:
            return _json(404, {"code": "unknown_organization"})
        digest = bytes.fromhex(body.sha256)
        return _token_response(await self._minter.replace(body.org, digest))

    async def exchange(self, request: web.Request) -> web.Response:
        """`scopes` of the answer are those of the new refresh token, null when Zoho names none."""
        body = GrantCode.model_validate_json(await request.read())
        if body.org not in self._orgs:
            return _json(404, {"code": "unknown_organization"})
        scopes = await self._exchange.exchange(body.org, body.code)
        return _json(200, {"scopes": scopes.split() or None})

    async def status(self, request: web.Request) -> web.Response:
        """Return the state of the organization's token, without a call to Zoho."""
        body = TokenRequest.model_validate_json(await request.read())
        if body.org not in self._orgs:
            return _json(404, {"code": "unknown_organization"})
        state = await self._minter.state(body.org)
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


def _token_response(token: AccessToken) -> web.Response:
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
