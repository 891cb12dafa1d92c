"""Workers get a valid token, at the cost of as few mints as possible."""

import asyncio
import hashlib
from collections import Counter
from typing import Any

import aiohttp
import asyncpg
import pytest
from pydantic import SecretStr

from services.token_service.repositories.refresh_tokens import RefreshTokens
from shared.crypto.data_keys import DataKeys
from shared.crypto.envelope import Vault
from shared.crypto.keyring import KeyRing
from shared.zoho.call.tokens import Tokens
from tests.token_service.conftest import KEY, RING, AccountsServer, Replica, Start


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def test_a_worker_gets_a_token_and_where_to_use_it(
    replica: Replica, accounts: AccountsServer
) -> None:
    status, body, _ = await replica.post("/v1/token", {"org": "default"})
    assert status == 200
    assert body.keys() == {"access_token", "expires_at", "api_domain"}
    assert body["api_domain"].startswith("http")
    assert accounts.mints == 1


async def test_fifty_cold_clients_on_two_replicas_cost_one_mint(
    start: Start, accounts: AccountsServer
) -> None:
    urls = [(await start()).url, (await start()).url]
    async with aiohttp.ClientSession() as session:
        clients = [
            Tokens(session, urls[n % 2 :] + urls[: n % 2], SecretStr(KEY)) for n in range(50)
        ]
        tokens = await asyncio.gather(*[client.get("default") for client in clients])

    assert len({token.access_token for token in tokens}) == 1
    assert accounts.mints == 1


async def test_a_restart_reuses_the_stored_token(start: Start, accounts: AccountsServer) -> None:
    first = await (await start()).token()
    assert await (await start()).token() == first
    assert accounts.mints == 1


async def test_a_token_that_zoho_refused_is_replaced_once(
    start: Start, accounts: AccountsServer
) -> None:
    replicas = [await start(), await start()]
    dead = await replicas[0].token()

    reports = [
        replicas[n % 2].post("/v1/token/invalid", {"org": "default", "sha256": sha256(dead)})
        for n in range(20)
    ]
    answers = await asyncio.gather(*reports)

    fresh = {body["access_token"] for _, body, _ in answers}
    assert len(fresh) == 1
    assert dead not in fresh
    assert accounts.mints == 2


@pytest.mark.parametrize("key", ["", "another-key-entirely", "ключ"])
async def test_a_wrong_key_gets_nothing(
    replica: Replica, accounts: AccountsServer, key: str
) -> None:
    status, body, _ = await replica.post("/v1/token", {"org": "default"}, key=key)
    assert (status, body) == (401, {"code": "wrong_key"})
    assert accounts.mints == 0


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/token", {"org": "another"}, 404),
        ("/v1/token", {"org": ""}, 400),
        ("/v1/token", [], 400),
        ("/v1/token/invalid", {"org": "default", "sha256": "not a hash"}, 400),
        ("/v1/token/invalid", {"org": "default"}, 400),
    ],
)
async def test_an_invalid_request_is_refused(
    replica: Replica, path: str, body: Any, status: int
) -> None:
    assert (await replica.post(path, body))[0] == status


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("minute_limit", "cool_down"),
        ("invalid_token", "refresh_token_dead"),
        ("ok_with_error", "accounts_unavailable"),
        ("html", "wrong_data_center"),
        ("status:500", "accounts_unavailable"),
        ("reset_before", "accounts_unavailable"),
    ],
)
async def test_each_refusal_has_its_own_code_and_pauses_minting(
    replica: Replica, accounts: AccountsServer, kind: str, code: str
) -> None:
    accounts.fault(kind, times=1)
    reported, retry_after_s = await replica.refused()
    assert reported == code

    again, _ = await replica.refused()

    assert again == code
    assert retry_after_s >= 1
    assert accounts.mints == 0  # the second request was not made


async def test_a_wrong_secret_says_so(start: Start) -> None:
    replica = await start(zoho_client_secret=SecretStr("wrong"))
    assert (await replica.refused())[0] == "invalid_client"


async def test_no_refresh_token_at_all_says_so(start: Start) -> None:
    replica = await start(zoho_refresh_token=None)
    assert (await replica.refused())[0] == "not_configured"


async def test_ten_mints_in_ten_minutes_and_no_more(
    replica: Replica, accounts: AccountsServer
) -> None:
    token = await replica.token()
    for _ in range(9):
        body = {"org": "default", "sha256": sha256(token)}
        token = (await replica.post("/v1/token/invalid", body))[1]["access_token"]

    status, answer, headers = await replica.post(
        "/v1/token/invalid", {"org": "default", "sha256": sha256(token)}
    )

    assert (status, answer) == (503, {"code": "mint_budget"})
    assert 0 < int(headers["Retry-After"]) <= 600
    assert accounts.mints == 10


async def test_storing_a_new_refresh_token_replaces_a_dead_one(
    replica: Replica, accounts: AccountsServer, database_url: str
) -> None:
    accounts.revoke_refresh_token()
    assert (await replica.refused())[0] == "refresh_token_dead"

    await exchange(database_url, accounts.new_refresh_token("1000.newer.one"))

    assert await replica.token()


async def test_the_newer_refresh_token_wins_after_a_restart_too(
    start: Start, accounts: AccountsServer, database_url: str
) -> None:
    await start()
    accounts.revoke_refresh_token()
    await exchange(database_url, accounts.new_refresh_token("1000.newer.one"))

    restarted = await start()  # with the old one in its environment

    assert await restarted.token()


async def test_a_newer_one_in_the_environment_wins_over_a_stored_one(
    start: Start, accounts: AccountsServer, database_url: str
) -> None:
    await start()
    await exchange(database_url, SecretStr("1000.stored.then.revoked"))
    newest = accounts.new_refresh_token("1000.newest.of.all")
    assert await (await start(zoho_refresh_token=newest)).token()


async def test_a_replica_that_dies_while_minting_blocks_nobody(
    start: Start, accounts: AccountsServer, database_url: str
) -> None:
    accounts.fault("hold", times=1)
    dying, other = await start(), await start()
    request = asyncio.create_task(dying.post("/v1/token", {"org": "default"}))
    await accounts.until_held()

    # Ends its connections, and so its lock, as a SIGKILL does.
    connection = await asyncpg.connect(database_url)
    killed = await connection.fetchval(
        """
        SELECT count(pg_terminate_backend(pid)) FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND database =
              (SELECT oid FROM pg_database WHERE datname = current_database())
        """
    )
    await connection.close()

    assert killed == 1
    assert await other.token()
    accounts.world.faults.clear()
    await request
    assert accounts.mints <= 2


async def test_a_cancelled_caller_leaves_the_mint_to_the_others(
    replica: Replica, accounts: AccountsServer
) -> None:
    accounts.fault("hold", times=1)
    first = asyncio.create_task(replica.token())
    await accounts.until_held()
    second = asyncio.create_task(replica.token())
    first.cancel()
    accounts.world.faults.clear()
    assert await second
    assert accounts.mints == 1


async def test_mints_and_life_left_are_metrics(replica: Replica) -> None:
    await replica.token()
    text = await replica.metrics()
    assert 'zoho_token_mints_total{org="default",outcome="minted"} 1.0' in text
    assert "zoho_token_expires_in_seconds{" in text


async def test_no_token_lies_open_in_the_database(
    replica: Replica, accounts: AccountsServer, database_url: str
) -> None:
    token = await replica.token()
    refresh_token = accounts.world.settings.refresh_token.get_secret_value()
    connection = await asyncpg.connect(database_url)
    leaks: Counter[str] = Counter()
    for table in ("access_tokens", "refresh_tokens", "mints", "pauses"):
        for row in await connection.fetch(f"SELECT * FROM token.{table}"):  # noqa: S608
            for value in row.values():
                content = value if isinstance(value, bytes) else str(value).encode()
                leaks[table] += token.encode() in content or refresh_token.encode() in content
    await connection.close()
    assert leaks.keys() >= {"access_tokens", "refresh_tokens", "mints"}
    assert not leaks.total()


async def test_an_old_token_serves_while_no_new_one_is_available(
    replica: Replica, accounts: AccountsServer, database_url: str
) -> None:
    token = await replica.token()
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE token.access_tokens SET refresh_at = clock_timestamp()")
    await connection.close()
    accounts.fault("minute_limit")
    assert await replica.token() == token


async def exchange(database_url: str, token: SecretStr) -> None:
    """Store the token as `zoho-relay oauth exchange` does."""
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        vault = Vault(DataKeys(pool, KeyRing.parse(RING)))
        await RefreshTokens(pool, vault).store("default", token, source="exchange")
