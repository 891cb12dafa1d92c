"""Serve Zoho's accounts server: tokens from refresh tokens and grant codes, and their limits.

Errors often come under HTTP 200, so a client must look for `access_token`.
Source: https://www.zoho.com/accounts/protocol/oauth/ and clients in public code.
"""

from __future__ import annotations

import secrets
from email import message_from_bytes

from aiohttp import web

from services.zoho_sandbox.server.routes import ApiCall, Routes, json_answer
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_CODE_LIFE_S = 180


class AccountsDialect:
    """The accounts server's errors: `{"error": …}`, mostly under HTTP 200."""

    def error(self, status: int) -> web.Response:
        return json_answer({"error": "general_error"}, status=status)

    def minute_limit(self, call: ApiCall) -> web.Response:
        return json_answer(
            {
                "error_description": "You have made too many requests continuously. "
                "Please try again after some time.",
                "error": "Access Denied",
                "status": "failure",
            },
            status=400,
        )

    day_limit = concurrency = minute_limit

    def invalid_token(self, call: ApiCall) -> web.Response:
        return json_answer({"error": "invalid_code"})

    def scope_mismatch(self, call: ApiCall) -> web.Response:
        return json_answer({"error": "invalid_scope"})

    def wrong_organization(self, call: ApiCall) -> web.Response:
        return json_answer({"error": "missing_org_info"})

    def user_disabled(self, call: ApiCall) -> web.Response:
        # Zoho still issues tokens for a disabled user. The products refuse them.
        return json_answer({"error": "general_error"})

    def ok_with_error(self, call: ApiCall) -> web.Response:
        return json_answer({"error": "general_error"})

    def pattern_not_matched(self, call: ApiCall) -> web.Response:
        return self.error(400)

    def unknown_url(self, call: ApiCall) -> web.Response:
        return json_answer({"error": "invalid_request"}, status=404)

    wrong_method = bad_json = unknown_url

    def check_organization(self, call: ApiCall) -> web.Response | None:
        return None

    def decorate(self, call: ApiCall, response: web.StreamResponse) -> None:
        return None


def add_routes(app: web.Application, world: World) -> None:
    world.define("accounts", "clients", key="client_id")
    world.define("accounts", "refresh_tokens", key="refresh_token")
    world.define("accounts", "codes", key="code")
    world.define("accounts", "tokens", key="access_token")
    world.start_with(_seed)
    routes = Routes(app, world, product="accounts", prefix="/accounts", dialect=AccountsDialect())
    routes.add("POST", "/oauth/v2/token", "generate_token", _token, token=False)
    routes.add("POST", "/oauth/v2/token/revoke", "revoke_token", _revoke, token=False, weight=0)
    routes.add("GET", "/oauth/serverinfo", "server_info", _server_info, token=False, weight=0)
    routes.close()


def _seed(world: World) -> None:
    settings = world.settings
    secret = settings.client_secret.get_secret_value()
    world.table("accounts", "clients").load(
        [{"client_id": settings.client_id, "client_secret": secret}]
    )
    world.table("accounts", "refresh_tokens").load(
        [
            {
                "refresh_token": settings.refresh_token.get_secret_value(),
                "client_id": settings.client_id,
                "scope": settings.scopes,
                "status": "active",
            }
        ]
    )


async def _token(call: ApiCall) -> web.Response:
    sent = await _parameters(call)
    client = call.world.table("accounts", "clients").get(sent.get("client_id", ""))
    if client is None:
        return _refused("invalid_client")
    if not secrets.compare_digest(client["client_secret"], sent.get("client_secret", "")):
        return _refused("invalid_client_secret")
    match sent.get("grant_type"):
        case "refresh_token":
            return _refresh(call, sent)
        case "authorization_code":
            return _exchange(call, sent)
        case _:
            return _refused("unsupported_grant_type")


def _refresh(call: ApiCall, sent: dict[str, str]) -> web.Response:
    known = call.world.table("accounts", "refresh_tokens").get(sent.get("refresh_token", ""))
    if known is None or known["status"] != "active" or known["client_id"] != sent["client_id"]:
        return _refused("invalid_code")  # the same name as for a dead grant code
    return json_answer(_new_token(call, known))


def _exchange(call: ApiCall, sent: dict[str, str]) -> web.Response:
    """Exchange a grant code, which is valid once, for three minutes."""
    codes = call.world.table("accounts", "codes")
    code = codes.get(sent.get("code", ""))
    if code is None:
        return _refused("invalid_code")
    codes.remove(code["code"])
    issued_at = code.get("issued_at")
    if issued_at is not None and call.world.clock.now().timestamp() - issued_at > _CODE_LIFE_S:
        return _refused("invalid_code")
    refresh: Record = {
        "refresh_token": f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}",
        "client_id": sent["client_id"],
        "scope": code.get("scope", call.world.settings.scopes),
        "status": "active",
    }
    call.world.table("accounts", "refresh_tokens").add(refresh)
    granted = _new_token(call, refresh)
    return json_answer({**granted, "refresh_token": refresh["refresh_token"]})


def _new_token(call: ApiCall, refresh: Record) -> dict[str, object]:
    """Issue an access token. The oldest beyond the tenth is invalidated silently."""
    world = call.world
    limit = world.limits["accounts"].limit
    tokens = world.table("accounts", "tokens")
    now = world.clock.now().timestamp()
    alive = [
        token
        for token in tokens
        if token["refresh_token"] == refresh["refresh_token"]
        and token["status"] == "active"
        and token["expires_at"] > now
    ]
    for oldest in alive[: max(0, len(alive) - limit.live_tokens + 1)]:
        oldest["status"] = "killed"
        tokens.save(oldest)
    token = tokens.add(
        {
            "access_token": f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}",
            "refresh_token": refresh["refresh_token"],
            "scope": refresh["scope"],
            "status": "active",
            "issued_at": now,
            "expires_at": now + limit.expires_in_s,
        }
    )
    origin = call.request.url.origin()
    return {
        "access_token": token["access_token"],
        "scope": str(refresh["scope"]).replace(",", " "),
        "api_domain": str(origin),
        "token_type": "Bearer",
        "expires_in": limit.expires_in_s,
    }


async def _revoke(call: ApiCall) -> web.Response:
    """Revoke a token. A refresh token's access tokens are revoked with it."""
    value = (await _parameters(call)).get("token", "")
    tokens = call.world.table("accounts", "tokens")
    refresh_tokens = call.world.table("accounts", "refresh_tokens")
    if refresh := refresh_tokens.get(value):
        refresh["status"] = "revoked"
        refresh_tokens.save(refresh)
        dead = [token for token in tokens if token["refresh_token"] == value]
    elif token := tokens.get(value):
        dead = [token]
    else:
        return json_answer({"error": "invalid_token"}, status=400)
    for token in dead:
        token["status"] = "revoked"
        tokens.save(token)
    return json_answer({"status": "success"})


async def _server_info(call: ApiCall) -> web.Response:
    origin = str(call.request.url.origin())
    return json_answer({"result": "success", "locations": {"us": f"{origin}/accounts"}})


async def _parameters(call: ApiCall) -> dict[str, str]:
    """Return the parameters of the query and of the form, urlencoded or multipart.

    Zoho's own Node SDK and its curl samples send multipart.
    """
    if call.request.content_type == "multipart/form-data":
        return {**_multipart(call), **call.request.query}
    form = await call.request.post()
    return {
        **{name: value for name, value in form.items() if isinstance(value, str)},
        **call.request.query,
    }


def _multipart(call: ApiCall) -> dict[str, str]:
    """Parse a multipart body, which the request's log has read before."""
    content_type = call.request.headers["Content-Type"].encode()
    message = message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + call.body)
    return {
        str(part.get_param("name", header="Content-Disposition")): bytes(
            part.get_payload(decode=True)
        ).decode()
        for part in message.walk()
        if not part.is_multipart()
    }


def _refused(error: str) -> web.Response:
    return json_answer({"error": error})
