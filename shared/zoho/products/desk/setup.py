"""Read how Zoho Desk is set up, for `zoho-relay doctor`."""

from __future__ import annotations

from typing import Final

from shared.zoho.call.http import Operation
from shared.zoho.products.setup_reader import SetupReader, ZohoRecord

_ORGANIZATIONS: Final = Operation("desk", "list_organizations", "GET", repeatable=True)
_DEPARTMENT: Final = Operation("desk", "get_department", "GET", repeatable=True)
_FIELDS: Final = Operation("desk", "list_fields", "GET", repeatable=True, weight=3)
_WEBHOOKS: Final = Operation("desk", "list_webhooks", "GET", repeatable=True, weight=3)


class DeskSetup(SetupReader):
    async def desk_organizations(self) -> list[ZohoRecord]:
        """Those that the token's user belongs to: `id`, `edition`, …"""
        return list((await self._get(_ORGANIZATIONS, "/organizations")).get("data") or [])

    async def desk_department(self, department_id: str) -> ZohoRecord:
        """Raises ZohoRejected (404) when there is none of this id."""
        return await self._get(_DEPARTMENT, f"/departments/{department_id}")

    async def desk_ticket_fields(self) -> set[str]:
        """API names of the fields of tickets."""
        body = await self._get(_FIELDS, "/organizationFields", module="tickets")
        return {str(one.get("apiName")) for one in body.get("data") or []}

    async def desk_webhooks(self) -> list[ZohoRecord]:
        """`id`, `url`, `isEnabled`, `subscriptions`, `includeEventsFrom`."""
        return list((await self._get(_WEBHOOKS, "/webhooks")).get("data") or [])
