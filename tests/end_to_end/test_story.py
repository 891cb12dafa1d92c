"""The whole story, and what it leaves behind on the disk."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import asyncpg
import pytest
from rich.console import Console

from deploy.demo.narrator import Narrator
from deploy.demo.stage import Stage
from deploy.demo.story import Story
from deploy.local.stack import Stack
from tests.end_to_end import secrets_of
from tests.end_to_end.leak_search import Finding, Needle, search

PLANTED_ID = "4600000000099999973"
PLANTED_SECRET = "1000.b0b5c0ffee.planted"
PLANTED_EMAIL = "planted.person@example.org"


@pytest.fixture(scope="module")
def told(stack: Stack) -> str:
    """The story, told once for all tests of this module; its text as a pipe would get it."""
    text = io.StringIO()

    async def tell() -> None:
        narrator = Narrator(Console(file=text, width=120))
        async with Stage(stack.env["AMQP_URL"], stack.env["SANDBOX_URL"]) as stage:
            await _spectate(stage)
            await stage.publish("user.signed_up.v1", {"user_id": "u-bad", "email": "not an email"})
            await stage.publish("user.singed_up.v1", {"user_id": "u-bad"})
            await stage.event("command.failed.v1", code="invalid_message")
            await stage.event("command.failed.v1", code="unknown_command")
            await Story(stage, narrator).play()

    asyncio.run(tell())
    return text.getvalue()


async def _spectate(stage: Stage) -> None:
    """Queues that nobody empties: events and webhooks stay on the broker's disk."""
    await stage.keep_copies("spectator", ("zoho.events", "zoho.webhooks", "zoho.commands"))


def test_the_story_comes_true_and_reads_well(told: str) -> None:
    assert "did not come true" not in told
    assert told.count("came true in") == 9
    assert "\x1b" not in told
    assert "Paid Tier" in told
    assert "Churned" in told


async def test_nothing_that_must_not_lie_on_a_disk_lies_there(
    told: str, stack: Stack, stage: Stage
) -> None:
    state = await stage.sandbox.state()
    ids_and_secrets = [
        *secrets_of.zoho_ids(state),
        *secrets_of.secrets(state, stack.settings),
    ]
    assert len(ids_and_secrets) > 30, "the story left too little to look for"

    await _checkpoint(stack)

    folders = _folders(stack)
    assert _told(search([*folders.values()], ids_and_secrets)) == []
    people = [*secrets_of.people(state)]
    assert len(people) >= 9
    assert _told(search([folders["postgres"], folders["logs"]], people)) == []


async def test_the_search_finds_what_is_planted(told: str, stack: Stack, stage: Stage) -> None:
    connection = await asyncpg.connect(_superuser(stack))
    await connection.execute("CREATE TABLE planted (id bigint, id_text text, secret bytea)")
    await connection.execute(
        "INSERT INTO planted VALUES ($1, $2, $3)",
        int(PLANTED_ID),
        PLANTED_EMAIL,
        PLANTED_SECRET.encode("utf-16-le"),
    )
    await connection.execute("DELETE FROM planted")
    await connection.close()
    (_folders(stack)["logs"] / "planted.log").write_text(PLANTED_ID.encode().hex())
    await stage.publish("user.signed_up.v1", {"user_id": "planted", "email": PLANTED_SECRET})
    await stage.event("command.failed.v1", code="invalid_message")
    await _checkpoint(stack)

    planted = [
        Needle("id", PLANTED_ID),
        Needle("secret", PLANTED_SECRET),
        Needle("email", PLANTED_EMAIL),
    ]
    found = {
        (place, finding.kind, finding.encoding.split(",")[0])
        for place, folder in _folders(stack).items()
        for finding in search([folder], planted)
    }

    assert {
        ("postgres", "id", "8-byte integer"),
        ("postgres", "email", "text"),
        ("postgres", "secret", "utf-16-le"),
        ("logs", "id", "hex"),
        ("rabbitmq", "secret", "text"),
    } <= found


def _folders(stack: Stack) -> dict[str, Path]:
    return {
        "postgres": Path(stack.env["POSTGRES_DATA"]),
        "rabbitmq": Path(stack.env["RABBITMQ_DATA"]),
        "logs": Path(stack.env["LOG_DIR"]),
    }


async def _checkpoint(stack: Stack) -> None:
    connection = await asyncpg.connect(_superuser(stack))
    await connection.execute("CHECKPOINT")
    await connection.close()


def _superuser(stack: Stack) -> str:
    url = stack.env["POSTGRES_URL"]
    return url.rsplit("/", 1)[0] + "/" + stack.env["DATABASE_URL"].rsplit("/", 1)[1]


def _told(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings]
