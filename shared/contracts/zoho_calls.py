"""List the calls to Zoho that each command leads to, for the public documentation.

Names are those of the operations in the logs and in `zoho_api_requests_total`. Of its calls a
command makes those that are still needed: what is so already is not done again. A look for what an
unanswered call has done is one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_CUSTOMER: Final = ("list_customers", "get_customer", "create_customer")
_CONTACT: Final = (
    *("coql", "upsert_contacts", "update_contact", "get_contact", "add_tags", "remove_tags"),
)
_BOOKS_CONTACT: Final = ("list_contacts", "get_contact", "list_invoices")
_COMMENT: Final = ("create_comment", "list_comments")
_TICKET: Final = ("get_ticket", "get_ticket_history")
_BOOKS_ENTRIES: Final = (
    *("list_invoices", "list_credit_notes", "get_credit_note", "list_credit_note_refunds"),
    *("list_customer_payments", "get_customer_payment", "list_customer_payment_refunds"),
    *("list_contacts", "get_contact", "list_currencies", "get_organization"),
)

ZOHO_CALLS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = MappingProxyType(
    {
        "user.signed_up.v1": {"billing": _CUSTOMER, "crm": _CONTACT},
        "user.updated.v1": {"billing": ("get_customer", "update_customer"), "crm": _CONTACT},
        "user.erasure_requested.v1": {
            "billing": (
                *("list_customers", "get_customer", "list_subscriptions", "get_subscription"),
                *("cancel_subscription", "list_cards", "delete_card", "update_customer"),
                "mark_customer_inactive",
            ),
            "books": ("list_contacts", "list_invoices", "update_contact", "mark_contact_inactive"),
            "crm": (
                *("search_contacts", "get_contact", "list_notes", "delete_note", "remove_tags"),
                "update_contact",
            ),
            "desk": (
                *("search_contacts", "get_ticket", "search_tickets", "list_tickets_of_contact"),
                *("list_comments", "delete_comment", "list_attachments", "delete_attachment"),
                *("update_ticket", "move_tickets_to_trash", "update_contact"),
            ),
        },
        "subscription.requested.v1": {
            "billing": (
                *_CUSTOMER,
                *("get_plan", "list_cards", "create_subscription", "list_subscriptions"),
                "get_subscription",
            ),
        },
        "subscription.change_requested.v1": {
            "billing": ("get_subscription", "get_plan", "update_subscription"),
        },
        "subscription.cancel_requested.v1": {
            "billing": ("get_subscription", "get_plan", "cancel_subscription"),
        },
        "subscription.reactivate_requested.v1": {
            "billing": ("get_subscription", "get_plan", "reactivate_subscription"),
        },
        "payment.record_requested.v1": {
            "billing": (*_CUSTOMER, "create_payment", "list_payments"),
            "books": ("get_invoice", "create_customer_payment", "list_customer_payments"),
        },
        "payment.collect_requested.v1": {
            "billing": ("get_invoice", "list_cards", "collect_invoice", "list_payments"),
        },
        "payment.refund_requested.v1": {"billing": ("get_payment", "refund_payment")},
        "invoice.create_requested.v1": {
            "books": (*_BOOKS_CONTACT, "upsert_invoice", "mark_invoice_sent", "get_invoice"),
        },
        "invoice.requested.v1": {"books": ("get_invoice", "get_invoice_pdf")},
        "invoice.list_requested.v1": {
            "billing": ("list_invoices",),
            "books": (*_BOOKS_CONTACT, "get_organization"),
        },
        "invoice.void_requested.v1": {"books": ("get_invoice", "mark_invoice_void")},
        "invoice.write_off_requested.v1": {"books": ("get_invoice", "write_off_invoice")},
        "report.revenue_requested.v1": {"books": (*_BOOKS_ENTRIES, "profit_and_loss")},
        "report.receivables_requested.v1": {"books": ("list_invoices", "get_organization")},
        "report.summary_requested.v1": {"books": _BOOKS_ENTRIES},
        "interaction.recorded.v1": {"crm": ("create_notes", "list_notes", "get_contact")},
        "support.escalated.v1": {"desk": ("create_ticket", "search_tickets", *_COMMENT)},
        "support.message_added.v1": {"desk": _COMMENT},
        "support.priority_raised.v1": {"desk": (*_TICKET, "update_ticket", *_COMMENT)},
        "support.close_requested.v1": {"desk": (*_TICKET, "update_ticket", "close_tickets")},
    }
)
"""By routing key, the operations of each product."""
