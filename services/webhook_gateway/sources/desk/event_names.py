"""List the events that Zoho documents for Desk.

Others are accepted too, because the list grows.
"""

from __future__ import annotations

from typing import Final

from services.webhook_gateway.sources.event_names import event_names

# Source: https://desk.zoho.com/support/WebhookDocument.do
DESK: Final = event_names(
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
