"""Test that bad input gets a clear answer and is kept, and that the next message is handled."""

from __future__ import annotations

import asyncpg

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from tests.kit.people import sign_up_of


async def test_a_command_that_breaks_its_contract_is_kept_and_answered(
    stage: SystemDriver, stack: Stack
) -> None:
    await stage.publish(
        "user.signed_up.v1", {"user_id": "u-typo", "emial": "typo@example.com"}, message_id="bad-1"
    )
    await stage.publish("user.signed_up.v1", sign_up_of("u-next"))

    for service in ("billing-worker", "crm-worker"):
        failed = await stage.event("command.failed.v1", message_id="bad-1", service=service)
        assert failed["code"] == "invalid_message"
        assert failed["routing_key"] == "user.signed_up.v1"
        assert "email: is required" in failed["reason"]
        assert "emial" in failed["reason"]
        assert "typo@example.com" not in str(failed)
        letter = await _dead_letter(stack, service.removesuffix("-worker"), "bad-1")
        assert letter["code"] == "invalid_message"
        assert letter["reason"] == failed["reason"]
        assert b"typo@example.com" not in letter["body"]
    await stage.event("customer.created.v1", user_id="u-next")
    await stage.event("contact.synced.v1", user_id="u-next")


async def test_a_command_that_nobody_knows_is_kept_and_answered(
    stage: SystemDriver, stack: Stack
) -> None:
    await stage.publish("user.signd_up.v1", {"user_id": "u-typo"}, message_id="bad-2")
    await stage.publish("user.signed_up.v1", sign_up_of("u-after-unknown"))

    failed = await stage.event("command.failed.v1", message_id="bad-2")
    assert (failed["code"], failed["routing_key"]) == ("unknown_command", "user.signd_up.v1")
    letter = await _dead_letter(stack, "billing", "bad-2")
    assert letter["routing_key"] == "user.signd_up.v1"
    await stage.event("customer.created.v1", user_id="u-after-unknown")
    await stage.event("contact.synced.v1", user_id="u-after-unknown")
    # The queue of the unknown ones too goes on.
    await stage.publish("user.sgned_up.v1", {"user_id": "u-typo"}, message_id="bad-3")
    failed = await stage.event("command.failed.v1", message_id="bad-3")
    assert failed["code"] == "unknown_command"


async def test_a_message_id_with_another_body_is_refused(stage: SystemDriver) -> None:
    body = sign_up_of("u-reuse")
    await stage.publish("user.signed_up.v1", body, message_id="reused-1")
    await stage.event("customer.created.v1", user_id="u-reuse")

    other = {**body, "email": "other@example.com"}
    await stage.publish("user.signed_up.v1", other, message_id="reused-1")

    failed = await stage.event("command.failed.v1", code="message_id_reused")
    assert failed["message_id"] == "reused-1"
    state = await stage.sandbox.state()
    assert all(c["email"] != "other@example.com" for c in state["billing"]["customers"])


async def _dead_letter(stack: Stack, schema: str, message_id: str) -> asyncpg.Record:
    """The letter. It is committed with the event that announces it."""
    connection = await asyncpg.connect(stack.env["DATABASE_URL"])
    try:
        letter = await connection.fetchrow(
            f"SELECT * FROM {schema}.dead_letters WHERE message_id = $1",  # noqa: S608
            message_id,
        )
    finally:
        await connection.close()
    assert letter is not None
    return letter
