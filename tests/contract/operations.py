"""Map each operation of our clients to its name in Zoho's files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from tests.contract.openapi import ROOT

Ours = tuple[str, str]
"""Product and name, as in `Operation("billing", "create_customer", …)`."""

IN_ZOHOS_FILES: Final[dict[Ours, str]] = {
    ("billing", "create_customer"): "POST /customers",
    ("billing", "get_customer"): "GET /customers/{customer_id}",
    ("billing", "list_customers"): "GET /customers",
    ("billing", "update_customer"): "PUT /customers/{customer_id}",
    ("billing", "mark_customer_inactive"): "POST /customers/{customer_id}/markasinactive",
    ("billing", "mark_customer_active"): "POST /customers/{customer_id}/markasactive",
    ("billing", "list_cards"): "GET /customers/{customer_id}/cards",
    ("billing", "get_plan"): "GET /plans/{plan_code}",
    ("billing", "list_plans"): "GET /plans",
    ("billing", "create_subscription"): "POST /subscriptions",
    ("billing", "get_subscription"): "GET /subscriptions/{subscription_id}",
    ("billing", "list_subscriptions"): "GET /subscriptions",
    ("billing", "update_subscription"): "PUT /subscriptions/{subscription_id}",
    ("billing", "cancel_subscription"): "POST /subscriptions/{subscription_id}/cancel",
    ("billing", "reactivate_subscription"): "POST /subscriptions/{subscription_id}/reactivate",
    ("billing", "list_invoices"): "GET /invoices",
    ("billing", "get_invoice"): "GET /invoices/{invoice_id}",
    ("billing", "void_invoice"): "POST /invoices/{invoice_id}/void",
    ("billing", "write_off_invoice"): "POST /invoices/{invoice_id}/writeoff",
    ("billing", "collect_invoice"): "POST /invoices/{invoice_id}/collect",
    ("billing", "create_payment"): "POST /payments",
    ("billing", "get_payment"): "GET /payments/{payment_id}",
    ("billing", "list_payments"): "GET /payments",
    ("billing", "refund_payment"): "POST /payments/{payment_id}/refunds",
    ("billing", "list_events"): "GET /events",
    ("billing", "get_event"): "GET /events/{event_id}",
    ("books", "get_invoice"): "GET /invoices/{invoice_id}",
    ("books", "get_invoice_pdf"): "GET /invoices/{invoice_id} as PDF",
    ("books", "list_invoices"): "GET /invoices",
    ("books", "list_contacts"): "GET /contacts",
    ("books", "get_contact"): "GET /contacts/{contact_id}",
    ("books", "upsert_invoice"): "PUT /invoices",
    ("books", "mark_invoice_sent"): "POST /invoices/{invoice_id}/status/sent",
    ("books", "mark_invoice_void"): "POST /invoices/{invoice_id}/status/void",
    ("books", "write_off_invoice"): "POST /invoices/{invoice_id}/writeoff",
    ("books", "get_credit_note"): "GET /creditnotes/{creditnote_id}",
    ("books", "list_credit_notes"): "GET /creditnotes",
    ("books", "list_customer_payments"): "GET /customerpayments",
    ("books", "create_customer_payment"): "POST /customerpayments",
    ("books", "get_customer_payment"): "GET /customerpayments/{payment_id}",
    ("books", "list_credit_note_refunds"): "GET /creditnotes/refunds",
    ("books", "list_customer_payment_refunds"): (
        "GET /customerpayments/{customer_payment_id}/refunds"
    ),
    ("books", "list_currencies"): "GET /settings/currencies",
    ("books", "get_organization"): "GET /organizations/{organization_id}",
    ("books", "list_organizations"): "GET /organizations",
    ("crm", "upsert_contacts"): "POST /{module}/upsert",
    ("crm", "update_contact"): "PUT /{module}/{recordID}",
    ("crm", "get_contact"): "GET /{module}/{recordID}",
    ("crm", "search_contacts"): "GET /{module}/search",
    ("crm", "add_tags"): "POST /{module}/actions/add_tags",
    ("crm", "remove_tags"): "POST /{module}/actions/remove_tags",
    ("crm", "create_notes"): "POST /Notes",
    ("crm", "list_notes"): "GET /{module}/{recordID}/Notes",
    ("crm", "get_org"): "GET /org",
    ("crm", "get_fields"): "GET /settings/fields",
    ("crm", "get_notifications"): "GET /actions/watch",
    ("desk", "create_ticket"): "POST /tickets",
    ("desk", "get_ticket"): "GET /tickets/{ticketId}",
    ("desk", "update_ticket"): "PATCH /tickets/{ticketId}",
    ("desk", "close_tickets"): "POST /closeTickets",
    ("desk", "search_tickets"): "GET /tickets/search",
    ("desk", "create_comment"): "POST /tickets/{ticketId}/comments",
    ("desk", "list_comments"): "GET /tickets/{ticketId}/comments",
    ("desk", "get_ticket_history"): "GET /tickets/{ticketId}/History",
    ("desk", "search_contacts"): "GET /contacts/search",
    ("desk", "list_tickets"): "GET /tickets",
    ("desk", "list_organizations"): "GET /organizations",
    ("desk", "get_department"): "GET /departments/{departmentId}",
    ("desk", "list_fields"): "GET /organizationFields",
    ("desk", "list_webhooks"): "GET /webhooks",
}


def declared() -> set[Ours]:
    """Every `Operation(product, name, …)` that the code of shared and services holds."""
    return {
        operation
        for folder in ("shared", "services")
        for file in (ROOT / folder).rglob("*.py")
        for operation in _declared_in(file.read_text())
    }


def _declared_in(source: str) -> Iterator[Ours]:
    if "Operation(" not in source:
        return
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(
                func=ast.Name(id="Operation"),
                args=[ast.Constant(value=str(product)), ast.Constant(value=str(name)), *_],
            ):
                yield product, name
