"""List the events that Zoho documents for Billing and Books.

Others are accepted too, because the list grows.
"""

from __future__ import annotations

from typing import Final

from services.webhook_gateway.sources.event_names import event_names

# Records that a workflow webhook posts bare, without naming an event.
# Source: https://www.zoho.com/books/kb/automation/create-webhook.html
RECORDS: Final = (
    *("subscription", "invoice", "payment", "customerpayment", "customer_payment", "creditnote"),
    *("customer", "contact", "estimate", "salesorder", "expense", "bill", "item"),
)

# Source: Zoho's OpenAPI file billing/events.yml, and the list in Billing's settings.
FINANCE: Final = event_names(
    """
    subscription_created trial_expiring subscription_activation subscription_ahead
    subscription_renewed billing_date_changed subscription_upgraded subscription_downgraded
    subscription_unpaid subscription_cancelled subscription_reactivated
    subscription_cancellation_scheduled subscription_move_to_free_scheduled subscription_expiring
    subscription_expired subscription_deleted subscription_scheduled_cancellation_removed
    subscription_reactivation_scheduled subscription_cancelling subscription_paused
    subscription_resumed invoice_created invoice_notification invoice_updated invoice_voided
    creditnote_added creditnote_refunded creditnote_deleted payment_thankyou payment_refunded
    payment_declined payment_voided payment_method_added payment_method_updated
    payment_method_deleted unbilled_charges_added unbilled_charges_updated
    unbilled_charges_invoiced unbilled_charges_deleted card_expired card_expiring card_deleted
    """
) | frozenset(f"{record}_changed" for record in RECORDS)
