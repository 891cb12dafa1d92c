"""A connection to the broker is given up whenever it is not needed any more."""

from __future__ import annotations

import asyncio

from pydantic import SecretStr

from shared.messaging.connection import Link
from shared.messaging.policy import MessagingPolicy
from shared.messaging.topology import Topology


async def test_it_can_be_left_at_any_moment_of_its_beginning(amqp_url: str) -> None:
    """The client library swallows some cancellations, which must not keep a service from ending."""
    topology = Topology("webhook-gateway", [], MessagingPolicy().retry)
    for moment in range(120):
        async with asyncio.timeout(20):
            async with Link(SecretStr(amqp_url), "test", topology.declare):
                await asyncio.sleep(moment / 2000)
