"""The order in which work may use what Zoho's quota leaves."""

from __future__ import annotations

from enum import StrEnum


class Priority(StrEnum):
    """The urgency of a call. None may use what is kept for those above it."""

    URGENT = "urgent"  # payments and cancellations
    COMMANDS = "commands"  # sign-ups, tickets
    READS = "reads"  # invoices asked for, reports
    BACKFILL = "backfill"  # backfill, audits, looking for gaps
