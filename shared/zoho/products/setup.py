"""Read how an organization is set up at Zoho, in all its products."""

from __future__ import annotations

from shared.zoho.products.billing.setup import BillingSetup
from shared.zoho.products.books.setup import BooksSetup
from shared.zoho.products.crm.setup import CrmSetup
from shared.zoho.products.desk.setup import DeskSetup
from shared.zoho.products.setup_reader import ZohoRecord

__all__ = ["ZohoRecord", "ZohoSetup"]


class ZohoSetup(BillingSetup, BooksSetup, CrmSetup, DeskSetup):
    """Read-only calls, for `zoho-relay doctor`."""
