"""Wait until a burst of webhooks about one change has arrived."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from shared.contracts.webhooks import WebhookReceived

# By then the command that caused the webhook has stored its result, and the rest of the burst is
# here.
_HANDLE_AFTER_S: Final = 1.0


async def wait_for_burst(message: WebhookReceived) -> None:
    age_s = (datetime.now(UTC) - message.received_at).total_seconds()
    if age_s < _HANDLE_AFTER_S:
        await asyncio.sleep(min(_HANDLE_AFTER_S - age_s, _HANDLE_AFTER_S))
