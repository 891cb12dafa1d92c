"""Derive an invoice's status from its dates, and match the statuses that lists filter by."""

from __future__ import annotations

from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

UNPAID = ("sent", "viewed", "unpaid", "overdue", "partially_paid")
_SPELLINGS = {"partiallypaid": "partially_paid"}


def current_status(world: World, invoice: Record) -> str:
    """Return the status. An unpaid invoice is `overdue` after the day on which it is due."""
    is_late = str(invoice["due_date"]) < world.clock.today().isoformat()
    if invoice["status"] in UNPAID and is_late and invoice["balance"] > 0:
        return "overdue"
    return str(invoice["status"])


def has_status(world: World, invoice: Record, wanted: str) -> bool:
    """Return whether a list filtered by `wanted` (`Sent`, `unpaid`, `PartiallyPaid`) shows it."""
    name = _SPELLINGS.get(wanted.lower(), wanted.lower())
    status = current_status(world, invoice)
    if name in ("", "all"):
        return True
    return status in UNPAID if name == "unpaid" else status == name
