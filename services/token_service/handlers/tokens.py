"""`POST /v1/token` and `POST /v1/token/invalid`, for workers that know the key."""

from __future__ import annotations

import hmac
import math

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from services.token_service.accounts import NoToken
from services.token_service.governor import TokenGovernor
from services.token_service.repositories.access_tokens import AccessToken
from shared.errors import Unavailable
from shared.storage.pool import unavailable_when_down


class TokenRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    org: str = Field(default="default", min_length=1, max_length=128)


class InvalidToken(TokenRequest):
    """`sha256` of the token that Zoho refused, in hex."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


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
        return _refused(error.code, error.retry_after_s)
    except Unavailable as error:
        return _refused(error.code, error.retry_after_s or 5.0)
    except ValidationError:
        return _json(400, {"code": "invalid_request"})


class TokenHandlers:
    """`orgs`: the organizations there are; another one is 404."""

    def __init__(self, governor: TokenGovernor, orgs: frozenset[str]) -> None:
        self._governor = governor
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
