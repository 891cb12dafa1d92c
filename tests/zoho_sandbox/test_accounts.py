"""Test the tokens that the accounts server grants, refuses and silently invalidates."""

from __future__ import annotations

import aiohttp
import pytest

from services.zoho_sandbox.driver import SandboxDriver
from tests.kit.sandbox_client import Zoho


async def test_a_refresh_grants_a_token_for_an_hour_and_no_new_refresh_token(zoho: Zoho) -> None:
    answer = await zoho.mint()

    assert answer.body["expires_in"] == 3600
    assert answer.body["token_type"] == "Bearer"
    assert answer.body["api_domain"] == zoho.url
    assert "refresh_token" not in answer.body


async def test_a_token_request_may_be_multipart_as_zohos_own_sdk_sends_it(zoho: Zoho) -> None:
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("grant_type", "refresh_token")
    form.add_field("client_id", zoho.settings.client_id)
    form.add_field("client_secret", zoho.settings.client_secret.get_secret_value())
    form.add_field("refresh_token", zoho.settings.refresh_token.get_secret_value())

    answer = await zoho.ask("POST", "/accounts/oauth/v2/token", data=form)

    assert answer.status == 200
    assert answer.body["access_token"]


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"client_id": "1000.OTHER"}, "invalid_client"),
        ({"client_secret": "other"}, "invalid_client_secret"),
        ({"refresh_token": "1000.x.y"}, "invalid_code"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": "authorization_code", "code": "1000.x"}, "invalid_code"),
    ],
)
async def test_an_error_comes_under_http_200(
    zoho: Zoho, changed: dict[str, str], error: str
) -> None:
    answer = await zoho.mint(**changed)

    assert (answer.status, answer.body) == (200, {"error": error})


async def test_the_eleventh_request_within_ten_minutes_is_denied_as_http_400(zoho: Zoho) -> None:
    for _ in range(9):
        assert "access_token" in (await zoho.mint()).body

    answer = await zoho.mint()

    assert answer.status == 400
    assert answer.body["error"] == "Access Denied"
    assert "Retry-After" not in answer.headers


async def test_the_eleventh_live_token_silently_invalidates_the_first(
    zoho: Zoho, sandbox: SandboxDriver
) -> None:
    await sandbox.set_limits("accounts", minute=None)
    for _ in range(9):
        await zoho.mint()
    assert (await zoho.ask("GET", "/billing/v1/plans")).status == 200

    assert "access_token" in (await zoho.mint()).body

    answer = await zoho.ask("GET", "/billing/v1/plans")
    assert (answer.status, answer.body["code"]) == (401, 57)


async def test_an_expired_token_is_refused(zoho: Zoho, sandbox: SandboxDriver) -> None:
    await sandbox.set_limits("accounts", expires_in_s=0)
    zoho.token = (await zoho.mint()).body["access_token"]

    assert (await zoho.ask("GET", "/billing/v1/plans")).status == 401


async def test_a_revoked_refresh_token_takes_its_access_tokens_with_it(zoho: Zoho) -> None:
    token = zoho.settings.refresh_token.get_secret_value()
    path = "/accounts/oauth/v2/token/revoke"
    assert (await zoho.ask("POST", path, params={"token": token})).body == {"status": "success"}

    assert (await zoho.ask("GET", "/billing/v1/plans")).status == 401
    assert (await zoho.mint()).body == {"error": "invalid_code"}
    assert (await zoho.ask("POST", path, params={"token": "1000.x"})).status == 400


async def test_a_grant_code_is_valid_once(zoho: Zoho, sandbox: SandboxDriver) -> None:
    await sandbox.load({"accounts": {"codes": [{"code": "1000.c", "scope": "Desk.tickets.READ"}]}})

    first = await zoho.mint(grant_type="authorization_code", code="1000.c")
    second = await zoho.mint(grant_type="authorization_code", code="1000.c")

    assert first.body["refresh_token"].startswith("1000.")
    assert first.body["scope"] == "Desk.tickets.READ"
    assert second.body == {"error": "invalid_code"}


async def test_only_zohos_own_scheme_is_accepted(zoho: Zoho) -> None:
    headers = {"Authorization": f"Bearer {zoho.token}"}

    answer = await zoho.ask("GET", "/billing/v1/plans", headers=headers)

    assert (answer.status, answer.body["code"]) == (401, 14)


@pytest.mark.parametrize(
    ("scope", "path", "status"),
    [
        ("ZohoSubscriptions.plans.READ", "/billing/v1/plans", 200),
        ("ZohoSubscriptions.plans.ALL", "/billing/v1/plans", 200),
        ("ZohoSubscriptions.fullaccess.all", "/billing/v1/plans", 200),
        ("ZohoSubscriptions.customers.READ", "/billing/v1/plans", 401),
        ("ZohoBooks.fullaccess.all", "/billing/v1/plans", 401),
        ("ZohoBooks.invoices.READ", "/books/v3/invoices", 200),
        ("ZohoBooks.invoices.CREATE", "/books/v3/invoices", 401),
    ],
)
async def test_a_token_may_do_what_its_scopes_say(
    zoho: Zoho, sandbox: SandboxDriver, scope: str, path: str, status: int
) -> None:
    await sandbox.load({"accounts": {"codes": [{"code": "1000.c", "scope": scope}]}})
    granted = await zoho.mint(grant_type="authorization_code", code="1000.c")
    zoho.token = granted.body["access_token"]

    answer = await zoho.ask("GET", path)

    assert answer.status == status
    assert answer.body["code"] == (57 if status == 401 else 0)
