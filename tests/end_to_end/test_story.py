"""Test the whole story, and what it leaves behind on the disk."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from rich.console import Console

from deploy.demo.narrator import Narrator
from deploy.demo.story import Story
from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from shared.contracts.commands import COMMANDS
from tests.kit import known_secrets as secrets_of
from tests.kit.leak_search import Finding, Needle, search
from tests.kit.scrape import total

SENDERS = ("webhook-gateway", "billing-worker", "crm-worker", "desk-worker")
SPECTATOR = "spectator"

PLANTED = [
    Needle("id", "4600000000099999973"),
    Needle("token", "1000.b0b5c0ffee.planted"),
    Needle("email", "planted.person@example.org"),
    Needle("name", "Planta Personova"),
]


@pytest.fixture(scope="module")
def story_text(stack: Stack) -> str:
    """Play the story once for all tests of this module. Returns its text as a pipe gets it.

    Somebody subscribes and never comes: what is published stays in a queue, on the broker's disk.
    """
    text = io.StringIO()

    async def play() -> None:
        await _sql(stack, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
        narrator = Narrator(Console(file=text, width=120))
        async with SystemDriver(stack.env["AMQP_URL"], stack.env["SANDBOX_URL"]) as stage:
            everything = {"zoho.events": ["#"], "zoho.webhooks": ["#"]}
            await stage.keep_copies(SPECTATOR, {**everything, "zoho.commands": list(COMMANDS)})
            await stage.publish("user.signed_up.v1", {"user_id": "u-bad", "email": "not an email"})
            await stage.publish("user.singed_up.v1", {"user_id": "u-bad"})
            await stage.event("command.failed.v1", code="invalid_message")
            await stage.event("command.failed.v1", code="unknown_command")
            await Story(stage, narrator).play()

    asyncio.run(play())
    return text.getvalue()


def test_the_story_comes_true_and_reads_well(story_text: str) -> None:
    assert "did not come true" not in story_text
    assert story_text.count("   came true in") == 9
    assert "The whole story came true" in story_text
    assert "\x1b" not in story_text
    for line in (
        "Ada Fairweather: Active, App User, Trial",
        "Ben Okonkwo: Active, App User, Paid Tier",
        "Ben Okonkwo: App User, Churned",
        "user: It is not. I want a person.",
        "“The second entry was a reservation; it is gone.”",
    ):
        assert line in story_text


async def test_nothing_is_left_on_its_way(story_text: str, stack: Stack) -> None:
    async with asyncio.timeout(60):
        for service in SENDERS:
            while total(stack, service, "outbox_pending"):  # noqa: ASYNC110 - nothing to wait for
                await asyncio.sleep(0.2)


async def test_nothing_that_must_not_lie_on_a_disk_lies_there(
    story_text: str, stack: Stack, stage: SystemDriver
) -> None:
    assert len(await stage.peek(SPECTATOR)) > 30, "no messages in the queues"
    state = await stage.sandbox.state()
    ids, secrets = [*secrets_of.zoho_ids(state)], [*secrets_of.secrets(state, stack.settings)]
    people = [*secrets_of.people(state), *secrets_of.transcript()]
    assert {needle.kind for needle in ids} == secrets_of.KINDS_OF_IDS
    assert len(people) > 9

    await _sql(stack, "CHECKPOINT")

    folders = _folders(stack)
    assert "zoho-sandbox.1.log" in {file.name for file in folders["logs"].iterdir()}
    assert _told(search([*folders.values()], [*ids, *secrets])) == []
    assert _told(search([folders["postgres"], folders["logs"]], people)) == []


async def test_the_search_finds_what_is_planted(
    story_text: str, stack: Stack, stage: SystemDriver
) -> None:
    forms = [form for needle in PLANTED for form in _forms(needle.value)]
    await _plant_in_postgres(stack, forms)
    await _plant_in_rabbitmq(stage, forms)
    log = _folders(stack)["logs"] / "planted.log"
    log.write_bytes(b"\n".join(forms))
    await _sql(stack, "CHECKPOINT")

    found = {
        place: {(f.kind, f.encoding) for f in search([folder], PLANTED)}
        for place, folder in _folders(stack).items()
    }
    log.unlink()

    texts = {"text", "utf-16-le", "utf-16-be", "hex", "HEX", "base64"}
    wanted = {(needle.kind, encoding) for needle in PLANTED for encoding in texts}
    wanted |= {("id", f"8-byte integer, {order}-endian") for order in ("big", "little")}
    assert found == dict.fromkeys(found, wanted)


def _forms(value: str) -> Iterator[bytes]:
    raw = value.encode()
    yield raw
    yield value.encode("utf-16-le")
    yield value.encode("utf-16-be")
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    yield base64.b64encode(b"in the middle of " + raw + b" something")
    if value.isdecimal():
        yield int(value).to_bytes(8, "big")
        yield int(value).to_bytes(8, "little")


async def _plant_in_postgres(stack: Stack, forms: list[bytes]) -> None:
    """Rows that are deleted, and not vacuumed."""
    connection = await asyncpg.connect(_superuser(stack))
    await connection.execute("CREATE TABLE planted (form bytea)")
    await connection.executemany("INSERT INTO planted VALUES ($1)", [(form,) for form in forms])
    await connection.execute("DELETE FROM planted")
    await connection.close()


async def _plant_in_rabbitmq(stage: SystemDriver, forms: list[bytes]) -> None:
    await stage.keep_copies("planted", {})
    for form in forms:
        message = aio_pika.Message(form, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await stage.channel.default_exchange.publish(message, "planted")


def _folders(stack: Stack) -> dict[str, Path]:
    return {
        "postgres": Path(stack.env["POSTGRES_DATA"]),
        "rabbitmq": Path(stack.env["RABBITMQ_DATA"]),
        "logs": Path(stack.env["LOG_DIR"]),
    }


async def _sql(stack: Stack, *statements: str) -> None:
    connection = await asyncpg.connect(_superuser(stack))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def _superuser(stack: Stack) -> str:
    url = stack.env["POSTGRES_URL"]
    return url.rsplit("/", 1)[0] + "/" + stack.env["DATABASE_URL"].rsplit("/", 1)[1]


def _told(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings]
