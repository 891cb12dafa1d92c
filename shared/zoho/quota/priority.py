"""The order in which work may use what Zoho's quota leaves."""

from __future__ import annotations

from enum import StrEnum


class Priority(StrEnum):
    """What a call is for, most urgent first: a lane may not use what is kept for those above it."""

    URGENT = "urgent"  # payments and cancellations
    COMMANDS = "commands"  # sign-ups, tickets
    READS = "reads"  # invoices asked for, reports
    BACKFILL = "backfill"  # backfill, audits, looking for gaps
