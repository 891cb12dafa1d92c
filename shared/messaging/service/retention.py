"""Define how long inbox and outbox keep what is settled."""

from __future__ import annotations

from shared.storage.retention import Rule

_DAY_S = 86_400.0


def rules(
    schema: str,
    *,
    outbox_s: float = 3600.0,
    inbox_days: float = 60.0,
    webhook_days: float = 190.0,
    dead_letter_days: float = 30.0,
) -> list[Rule]:
    """Outbox rows are kept one hour after their confirm, inbox ids 60 days, and those of webhooks
    190 days, because Zoho's event log reaches back 180."""
    own = "routing_key !~ '^(billing|books|crm|desk)\\.'"
    webhooks = "routing_key ~ '^(billing|books|crm|desk)\\.'"
    ids = f"{schema}.accepted_ids"
    return [
        Rule(f"{schema}.outbox", "published_at < $1", outbox_s),
        Rule(ids, f"accepted_at < $1 AND {own}", inbox_days * _DAY_S),
        Rule(ids, f"accepted_at < $1 AND {webhooks}", webhook_days * _DAY_S),
        # Longer than any attempt lasts: it is for those who looked before it was recorded.
        Rule(f"{schema}.recorded_facts", "recorded_at < $1", _DAY_S),
        Rule(f"{schema}.suspects", "noted_at < $1", inbox_days * _DAY_S),
        Rule(f"{schema}.dead_letters", "given_up_at < $1", dead_letter_days * _DAY_S),
        Rule(f"{schema}.interventions", "done_at < $1", dead_letter_days * _DAY_S),
        # Kept for a replay of the message that named it, as long as there may be one.
        Rule(
            f"{schema}.names",
            f"line IS NULL AND $1 IS NOT NULL AND NOT EXISTS (SELECT FROM {schema}.dead_letters d"
            " WHERE d.arrived = named_by AND d.state = 'waiting')",
            0.0,
        ),
        Rule(
            f"{schema}.name_heirs",
            f"$1 IS NOT NULL AND NOT EXISTS (SELECT FROM {schema}.inbox m"  # noqa: S608
            " WHERE m.arrived = name_heirs.arrived)"
            f" AND NOT EXISTS (SELECT FROM {schema}.dead_letters d"
            " WHERE d.arrived = name_heirs.arrived AND d.state = 'waiting')",
            0.0,
        ),
    ]
