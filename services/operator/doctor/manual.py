"""List what a person has to check at Zoho: no call shows whether customers see its pages."""

from __future__ import annotations

from typing import Final

from services.operator.doctor.findings import Findings

SWITCH_OFF: Final = (
    (
        "customer portal",
        "Billing and Books, Settings, Customer Portal: off, or at least no invitation mails.",
    ),
    (
        "payment links",
        (
            "Billing and Books, Settings, Online Payments: no gateway that customers pay by"
            " themselves; Templates, Invoice: no pay button, no link to view it online."
        ),
    ),
    (
        "Zoho's own mails",
        (
            "Billing, Settings, Email Notifications, and Books, Settings, Reminders: off for"
            " customers (invoices, payments, dunning, trials). The application notifies them."
        ),
    ),
    (
        "Desk's own mails",
        (
            "Desk, Setup, Automation, Notification Rules: off for contacts (ticket received,"
            " closed, comment); Channels, Help Center: no sign-up, no invitation."
        ),
    ),
    (
        "CRM's own mails",
        "CRM, Setup, Automation, Workflow Rules: none that mails contacts made by the API.",
    ),
)


def name_what_to_switch_off(findings: Findings) -> None:
    for what, where in SWITCH_OFF:
        findings.not_checked("to switch off at Zoho", what, "no call shows it", where)
