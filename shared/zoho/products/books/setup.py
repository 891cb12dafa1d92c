"""Read how Zoho Books is set up, for `zoho-relay doctor`."""

from __future__ import annotations

from typing import Final

from shared.zoho.call.http import Operation
from shared.zoho.products.finance.custom_fields import names_of_custom_fields
from shared.zoho.products.setup_reader import SetupReader, ZohoRecord

_ORGANIZATIONS: Final = Operation("books", "list_organizations", "GET", repeatable=True)
_LIST_INVOICES: Final = Operation("books", "list_invoices", "GET", repeatable=True)
_GET_INVOICE: Final = Operation("books", "get_invoice", "GET", repeatable=True)


class BooksSetup(SetupReader):
    async def books_organizations(self) -> list[ZohoRecord]:
        """Those that the token's user belongs to: `organization_id`, `plan_name`, …"""
        return list((await self._get(_ORGANIZATIONS, "/organizations"))["organizations"])

    async def books_invoice_fields(self) -> set[str] | None:
        """API names and labels of the newest invoice's custom fields. None without an invoice."""
        listed = await self._get(_LIST_INVOICES, "/invoices", per_page=1)
        for row in listed.get("invoices") or []:
            found = await self._get(_GET_INVOICE, f"/invoices/{row['invoice_id']}")
            return names_of_custom_fields(found["invoice"])
        return None
