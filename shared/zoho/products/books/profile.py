"""Describe Zoho Books to code that treats all products alike.

Sources: docs/zoho/finance.md §1.1, §1.7, §2.1 to §2.3 and §4.2. Scopes: the `security` of each
operation in Zoho's OpenAPI files.
"""

from __future__ import annotations

from typing import Final

from shared.zoho.call.operation import Operation
from shared.zoho.call.profile import Address, ProductProfile
from shared.zoho.products.finance.known_answers import KNOWN_ANSWERS
from shared.zoho.products.finance.profile import (
    CALLS_A_MINUTE,
    CREDITS_LEFT_HEADERS,
    ENVELOPE,
    PLANS,
)
from shared.zoho.quota.limits import ProductQuota

BOOKS: Final = ProductProfile(
    name="books",
    address=Address("books", "/books/v3"),
    organization_param="organization_id",
    envelope=ENVELOPE,
    known_answers=KNOWN_ANSWERS,
    credits_left_headers=CREDITS_LEFT_HEADERS,
    quota=ProductQuota(plans=PLANS, plan_setting="zoho_books_plan", calls_a_minute=CALLS_A_MINUTE),
    scopes=(
        "ZohoBooks.contacts.CREATE",
        "ZohoBooks.contacts.READ",
        "ZohoBooks.contacts.UPDATE",
        "ZohoBooks.invoices.CREATE",
        "ZohoBooks.invoices.READ",
        "ZohoBooks.invoices.UPDATE",
        "ZohoBooks.customerpayments.CREATE",
        "ZohoBooks.customerpayments.READ",
        "ZohoBooks.creditnotes.READ",
        "ZohoBooks.settings.READ",
    ),
    # A list of the organization: `/organizations` answers even while the user is disabled (6018).
    probe=(Operation("books", "list_invoices", "GET", repeatable=True), "/invoices?per_page=1"),
)
