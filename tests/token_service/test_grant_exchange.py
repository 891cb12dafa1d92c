"""A grant code is exchanged for a stored refresh token."""

import json
from typing import Any

import asyncpg
import pytest
from pydantic import SecretStr

from tests.token_service.conftest import AccountsServer, Replica, Start

CODE = "1000.grant.code.of.a.self.client"


def grant(accounts: AccountsServer, code: str = CODE, **more: Any) -> None:
    """Create a code as the API console's Generate Code does."""
    accounts.world.table("accounts", "codes").add({"code": code, **more})


async def exchange(replica: Replica, code: str = CODE) -> tuple[int, dict[str, Any]]:
    status, body, _ = await replica.post("/v1/exchange", {"org": "default", "code": code})
    return status, body


async def test_a_code_becomes_the_refresh_token_that_is_used(
    start: Start, accounts: AccountsServer
) -> None:
    replica = await start(zoho_refresh_token=None)
    assert (await replica.refused())[0] == "not_configured"
    grant(accounts, scope="ZohoBooks.invoices.READ,Desk.tickets.READ")

    status, body = await exchange(replica)

    assert (status, body) == (
        200,
        {"scopes": ["ZohoBooks.invoices.READ", "Desk.tickets.READ"]},
    )
    assert await replica.token()
    assert accounts.mints == 1  # the token that came with the refresh token


async def test_the_exchanged_token_wins_over_the_environment_and_over_a_restart(
    start: Start, accounts: AccountsServer
) -> None:
    replica = await start()
    old = await replica.token()
    grant(accounts)
    await exchange(replica)

    fresh = await replica.token()

    assert fresh != old
    assert await (await start()).token() == fresh


async def test_a_code_is_good_once(replica: Replica, accounts: AccountsServer) -> None:
    grant(accounts)
    await exchange(replica)
    assert await exchange(replica) == (422, {"code": "grant_code_dead"})
    assert await replica.token()  # what was stored before is untouched


async def test_an_expired_code_says_so(replica: Replica, accounts: AccountsServer) -> None:
    grant(accounts, issued_at=accounts.world.clock.now().timestamp() - 600)
    assert await exchange(replica) == (422, {"code": "grant_code_dead"})


async def test_a_wrong_client_says_so(start: Start, accounts: AccountsServer) -> None:
    replica = await start(zoho_client_secret=SecretStr("of another one"))
    grant(accounts)
    assert await exchange(replica) == (503, {"code": "invalid_client"})


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("html", "wrong_data_center"),
        ("minute_limit", "cool_down"),
        ("status:500", "accounts_unavailable"),
        ("reset_after", "accounts_unavailable"),
    ],
)
async def test_each_refusal_of_an_exchange_has_its_own_code(
    replica: Replica, accounts: AccountsServer, kind: str, code: str
) -> None:
    grant(accounts)
    accounts.fault(kind, times=1)
    assert await exchange(replica) == (503, {"code": code})


async def test_no_code_is_spent_while_zoho_asks_us_to_wait(
    replica: Replica, accounts: AccountsServer
) -> None:
    accounts.fault("minute_limit", times=1)
    await replica.refused()
    grant(accounts)

    assert await exchange(replica) == (503, {"code": "cool_down"})

    assert len(list(accounts.world.table("accounts", "codes"))) == 1


async def test_a_failed_exchange_does_not_stop_the_token_that_works(
    replica: Replica, accounts: AccountsServer
) -> None:
    await exchange(replica, "no such code")
    assert await replica.token()


async def test_status_says_how_things_stand_without_asking_zoho(
    replica: Replica, accounts: AccountsServer
) -> None:
    accounts.revoke_refresh_token()
    await replica.refused()
    asked = len(accounts.requests)

    _, body, _ = await replica.post("/v1/status", {"org": "default"})

    assert body["source"] == "environment"
    assert body["problem"] == "refresh_token_dead"
    assert body["mints_left"] == 9
    assert len(accounts.requests) == asked


async def test_status_names_the_scopes_that_a_mint_brought(
    replica: Replica, accounts: AccountsServer
) -> None:
    await replica.token()
    _, body, _ = await replica.post("/v1/status", {"org": "default"})
    assert body["scopes"] == accounts.world.settings.scopes.split(",")
    assert body["problem"] is None


async def test_a_dead_refresh_token_is_a_metric_until_a_new_one_is_stored(
    replica: Replica, accounts: AccountsServer
) -> None:
    def dead(value: float) -> str:
        labels = 'cause="refresh_token_dead",org="default",product="accounts"'
        return f"zoho_breaker_open{{{labels}}} {value}"

    accounts.revoke_refresh_token()
    await replica.refused()
    assert dead(1.0) in await replica.metrics()

    grant(accounts)
    await exchange(replica)

    assert dead(0.0) in await replica.metrics()
    assert await replica.token()


async def test_neither_code_nor_token_lies_open_in_the_database_or_the_log(
    replica: Replica,
    accounts: AccountsServer,
    database_url: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    grant(accounts)
    await exchange(replica)
    await exchange(replica, "another-code-that-is-wrong")
    tokens = [str(row["access_token"]) for row in accounts.world.table("accounts", "tokens")]
    refresh = [str(r["refresh_token"]) for r in accounts.world.table("accounts", "refresh_tokens")]

    connection = await asyncpg.connect(database_url)
    stored = b""
    for table in ("access_tokens", "refresh_tokens", "mints", "pauses"):
        for row in await connection.fetch(f"SELECT * FROM token.{table}"):  # noqa: S608
            values = [v if isinstance(v, bytes) else str(v).encode() for v in row.values()]
            stored += b" ".join(values)
    await connection.close()
    logged = json.dumps(capfd.readouterr()).encode()

    for secret in [CODE, "another-code-that-is-wrong", *tokens, *refresh]:
        assert secret.encode() not in stored + logged
