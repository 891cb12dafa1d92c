"""Operators erase a user by one command, and see how each erasure stands."""

import getpass
import io

import pytest

from tests.operator.conftest import until


@pytest.fixture
async def asked(desk):
    """The users whose erasure has reached a worker. Its handler does nothing more."""
    users = []

    async def erase(message, work):
        users.append(message.user_id)

    async with desk.worker({"user.erasure_requested.v1": erase}) as worker:
        await until(worker.ready)
        yield users


async def test_who_asked_for_an_erasure_and_when_is_kept(desk, asked):
    answer = await desk.ask("users", "erase", "u1", "--yes")

    async def arrived():
        return asked == ["u1"]

    await until(arrived)
    (row,) = (await desk.ask("users", "erasures", "--json")).rows
    assert answer.code == 0
    assert (row["user_id"], row["asked_by"], row["state"]) == ("u1", getpass.getuser(), "open")


async def test_an_erasure_is_asked_for_once(desk, asked):
    await desk.ask("users", "erase", "u1", "--yes")

    async def arrived():
        return asked == ["u1"]

    await until(arrived)
    again = await desk.ask("users", "erase", "u1", "--yes")

    assert again.code == 1
    assert "was asked for at" in again.err
    assert asked == ["u1"]


async def test_a_dry_run_shows_what_there_is_and_asks_for_nothing(desk, asked):
    await desk.pool.execute(
        "INSERT INTO relay.erasing_products (product, service) VALUES ('crm', 'crm-worker')"
    )
    await desk.pool.execute("INSERT INTO crm.contacts (org, user_id) VALUES ('default', 'u1')")

    answer = await desk.ask("users", "erase", "u1", "--dry-run")

    assert answer.code == 0
    lines = {line.split()[0]: line.split()[1:] for line in answer.out.splitlines() if line}
    assert lines["crm-worker"] == ["1", "0", "0"]
    assert "crm:" in lines
    assert not await desk.pool.fetchval("SELECT count(*) FROM relay.tombstones")


async def test_without_a_yes_nothing_is_erased(desk, asked, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    answer = await desk.ask("users", "erase", "u1")

    assert answer.code == 1
    assert not await desk.pool.fetchval("SELECT count(*) FROM relay.tombstones")


async def test_what_hangs_stands_first_with_what_it_waits_for(desk):
    await desk.pool.execute(
        "INSERT INTO relay.erasing_products (product, service) VALUES ('crm', 'crm-worker')"
    )
    await desk.pool.execute(
        """
        INSERT INTO relay.tombstones (org, user_id, asked_at, ended_at)
        VALUES ('default', 'u1', now() - interval '2 h', now()),
               ('default', 'u2', now() - interval '3 d', NULL)
        """
    )
    await desk.pool.execute(
        """
        INSERT INTO relay.erasure_parts
            (org, user_id, product, began_at, began_before, waits_for)
        VALUES ('default', 'u2', 'crm', now(), '1'::xid8, 'zoho_unavailable')
        """
    )

    rows = (await desk.ask("users", "erasures", "--json")).rows
    hanging = (await desk.ask("users", "erasures", "--open", "--json")).rows

    assert [(row["user_id"], row["waits_for"], row["took"]) for row in rows] == [
        ("u2", "crm (zoho_unavailable)", "3d"),
        ("u1", "", "2h"),
    ]
    assert [row["user_id"] for row in hanging] == ["u2"]
