"""Define the settings of Zoho Books."""

from __future__ import annotations

from shared.environment import Count, Environment, HttpUrl
from shared.zoho.products.finance.settings import FinancePlan


class BooksAccess(Environment):
    """The address, the plan, and other limits than the plan's (see `ZohoCalls`)."""

    zoho_books_url: HttpUrl | None = None
    zoho_books_plan: FinancePlan | None = None
    zoho_books_calls_a_minute: Count | None = None
    zoho_books_credits_a_day: Count | None = None
    zoho_books_in_flight: Count | None = None


class BooksFields(Environment):
    """The custom field that carries our id."""

    zoho_books_invoice_field: str | None = None
