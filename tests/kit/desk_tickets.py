"""Make tickets of Desk's, as somebody opens them by mail, to load into the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime

from services.zoho_sandbox.driver import Json

DEPARTMENT_ID = "204600000000006907"


def ticket_by_mail(
    email: str, ticket_id: str = "204600000000777777", at: datetime | None = None
) -> Json:
    """Return an open ticket. `at`: when it was opened, by default now."""
    time = (at or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": ticket_id,
        "ticketNumber": ticket_id[-5:],
        "subject": "By mail",
        "description": "Hello",
        "email": email,
        "status": "Open",
        "statusType": "Open",
        "priority": "Medium",
        "contactId": None,
        "departmentId": DEPARTMENT_ID,
        "createdTime": time,
        "modifiedTime": time,
        "closedTime": None,
        "customerResponseTime": time,
        "isTrashed": False,
        "isSpam": False,
        "cf": {"cf_app_escalation_id": None},
    }
