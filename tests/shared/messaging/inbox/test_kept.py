"""What is settled is kept as long as something may still ask for it, and not longer."""

from __future__ import annotations

from datetime import timedelta

from shared.messaging.inbox.acceptance import AcceptResult
from shared.messaging.service.retention import rules
from shared.storage.retention import Pruner
from tests.shared.messaging.inbox.conftest import Inbox, message

DAY_S = 86_400.0


async def _prune(inbox: Inbox, *, days: float) -> None:
    clock = inbox.clock() + timedelta(days=days)
    await Pruner(inbox.pool, rules("test"), clock=lambda: clock).prune()


async def test_a_repetition_is_known_for_sixty_days_and_one_of_a_webhook_for_190(
    inbox: Inbox,
) -> None:
    webhook = message("w", None, routing_key="billing.invoice_created.v1")
    await inbox.accept(message("a"), webhook)
    for one in await inbox.leased(routes={"user.updated.v1": {}, webhook.routing_key: {}}):
        await inbox.settle(one)

    await _prune(inbox, days=59)
    assert await inbox.accept(message("a")) == [AcceptResult.REPEATED]
    await _prune(inbox, days=61)
    assert await inbox.accept(message("a"), webhook) == [AcceptResult.NEW, AcceptResult.REPEATED]
    await _prune(inbox, days=191)
    assert await inbox.accept(webhook) == [AcceptResult.NEW]


async def test_a_freed_name_is_kept_as_long_as_its_message_may_be_replayed(inbox: Inbox) -> None:
    await inbox.accept(message("create", names=(("invoice", "i1"),)), message("b", "u2"))
    await inbox.accept(message("kept", "u2", names=(("invoice", "i2"),)))
    create = await inbox.next(limit=1)
    await inbox.give_up(create)

    await _prune(inbox, days=29)
    assert await inbox.pool.fetchval("SELECT count(*) FROM test.names") == 2
    await _prune(inbox, days=31)

    names = await inbox.pool.fetch("SELECT name FROM test.names")
    assert [row["name"] for row in names] == ["i2"]
    assert await inbox.dead_letters.page() == []
