"""Hold all SQL of decisions: the newest command on each topic of a subscription."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import asyncpg
import orjson

from shared.business_time import business_time
from shared.contracts.commands import (
    SubscriptionCancelRequested,
    SubscriptionChangeRequested,
    SubscriptionReactivateRequested,
)
from shared.crypto.envelope import Vault
from shared.errors import Postponed
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.inbox.lines import sealing_context
from shared.storage.recoveries import Recoveries

SubscriptionDecision = (
    SubscriptionCancelRequested | SubscriptionChangeRequested | SubscriptionReactivateRequested
)
DecisionTopic = Literal["renewal", "plan"]

_COMMANDS: Final[Mapping[DecisionTopic, Sequence[str]]] = {
    "renewal": ("subscription.cancel_requested.v1", "subscription.reactivate_requested.v1"),
    "plan": ("subscription.change_requested.v1",),
}

_CLAIM = """
    INSERT INTO billing.decisions AS d (org, subscription_id, about, arrived)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (org, subscription_id, about) DO UPDATE SET arrived = excluded.arrived
    WHERE d.arrived < excluded.arrived
"""


class Decisions:
    """`gather_s`: how long a command waits for later ones on its topic, after a restore."""

    def __init__(self, pool: asyncpg.Pool, vault: Vault, *, gather_s: float) -> None:
        self._pool = pool
        self._vault = vault
        self._gather_s = gather_s
        self._recoveries = Recoveries(pool)

    async def claim(self, work: UnitOfWork, subscription_id: str, about: DecisionTopic) -> bool:
        """Let this command decide the topic. False when a later command has decided it.

        A command that overtakes the subscription's request waits outside its ordering key, and
        may come back after later commands were done.
        """
        newest = await self._pool.fetchval(
            """
            SELECT arrived FROM billing.decisions
            WHERE org = $1 AND subscription_id = $2 AND about = $3
            """,
            work.org,
            subscription_id,
            about,
        )
        if newest is not None and newest > work.arrived:
            return False
        work.record(_CLAIM, work.org, subscription_id, about, work.arrived)
        return True

    async def gives_way(
        self, work: UnitOfWork, message: SubscriptionDecision, about: DecisionTopic
    ) -> bool:
        """Whether an open later command on the topic replaces this one, which is then not done.

        Only after a restore. Then commands of before it come again in a row, and an early one would
        undo for a moment what a later one has done: Zoho would mail and invoice both.

        Raises:
            Postponed: later ones may still be on their way.
        """
        recovery = await self._recoveries.searched()
        if work.claim is None or recovery is None or recovery.surely_precedes(business_time()):
            return False
        wait_s: float = await self._pool.fetchval(
            """
            SELECT $2 - extract(epoch FROM clock_timestamp() - accepted_at)::float8
            FROM billing.inbox WHERE arrived = $1
            """,
            work.arrived,
            self._gather_s,
        )
        if wait_s > 0:
            raise Postponed("later commands may be published again too", retry_after_s=wait_s)
        later = await self._pool.fetch(
            """
            SELECT m.routing_key, m.message_id, m.body
            FROM billing.inbox m JOIN billing.inbox own ON (own.org, own.line) = (m.org, m.line)
            WHERE own.arrived = $1 AND m.arrived > $1 AND m.routing_key = ANY ($2::text[])
            """,
            work.arrived,
            list(_COMMANDS[about]),
        )
        for row in later:
            context = sealing_context(work.org, row["routing_key"], row["message_id"])
            body = orjson.loads(await self._vault.open_bytes(row["body"], context))
            if replaces(body, message):
                return True
        return False


def replaces(later: Mapping[str, Any], message: SubscriptionDecision) -> bool:
    """Whether the state after `later` (a body) is the same with and without `message` before it.

    A change of plan keeps the quantity and the add-ons that it does not name, and one at the end
    of the term leaves the present term as it is.
    """
    if later.get("subscription_id") != message.subscription_id:
        return False
    if not isinstance(message, SubscriptionChangeRequested):
        return True
    named = {name for name in ("quantity", "addons") if getattr(message, name) is not None}
    return (
        all(later.get(name) is not None for name in named)
        and later.get("at_term_end", False) == message.at_term_end
    )
