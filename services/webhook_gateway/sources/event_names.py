"""List the events that Zoho documents. Others are accepted too, because the lists grow."""

from __future__ import annotations

from typing import Final

from shared.contracts.webhooks import event_name


def _names(text: str) -> frozenset[str]:
    return frozenset(event_name(name) for name in text.split())


# Records that a workflow webhook posts bare, without naming an event.
# Source: https://www.zoho.com/books/kb/automation/create-webhook.html
RECORDS: Final = (
    *("subscription", "invoice", "payment", "customerpayment", "customer_payment", "creditnote"),
    *("customer", "contact", "estimate", "salesorder", "expense", "bill", "item"),
)

# Source: Zoho's OpenAPI file billing/events.yml, and the list in Billing's settings.
FINANCE: Final = _names(
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

# Source: https://desk.zoho.com/support/WebhookDocument.do
DESK: Final = _names(
    """
    Ticket_Add Ticket_Update Ticket_Delete Ticket_Thread_Add Ticket_Comment_Add
    Ticket_Comment_Update Ticket_Attachment_Add Ticket_Attachment_Update Ticket_Attachment_Delete
    Ticket_Approval_Add Ticket_Approval_Update Contact_Add Contact_Update Contact_Delete
    Account_Add Account_Update Account_Delete Agent_Add Agent_Update Agent_Delete
    Agent_Presence_Update Department_Add Department_Update Task_Add Task_Update Task_Delete
    Call_Add Call_Update Call_Delete Event_Add Event_Update Event_Delete Article_Add
    Article_Update Article_Delete Article_Translation_Add Article_Translation_Update
    Article_Translation_Delete Article_Feedback_Add KBRootCategory_Add KBRootCategory_Update
    KBRootCategory_Delete KBSection_Add KBSection_Update KBSection_Delete IM_Message_Add
    IM_Session_Status TimeEntry_Add TimeEntry_Update TimeEntry_Delete
    """
)

# CRM names the operation only. The module is the one that the channel watches.
CRM_OPERATIONS: Final = frozenset({"insert", "update", "delete"})
WORKFLOW: Final = "workflow"
