"""Define how long inbox and outbox keep what is settled."""

from __future__ import annotations

from shared.messaging.handling.routes import WEBHOOKS
from shared.storage.retention import Rule

_DAY_S = 86_400.0


def rules(
    schema: str, *, outbox_s: float = 3600.0, inbox_days: float = 60.0, webhook_days: float = 190.0
) -> list[Rule]:
    """Outbox rows one hour after their confirm; inbox ids 60 days, those of webhooks 190, because
    Zoho's event log reaches back 180."""
    return [
        Rule(f"{schema}.outbox", "published_at < $1", outbox_s),
        Rule(f"{schema}.inbox", f"settled_at < $1 AND source <> '{WEBHOOKS}'", inbox_days * _DAY_S),
        Rule(
            f"{schema}.inbox", f"settled_at < $1 AND source = '{WEBHOOKS}'", webhook_days * _DAY_S
        ),
    ]
