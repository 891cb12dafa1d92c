"""Read how Zoho CRM is set up, for `zoho-relay doctor`."""

from __future__ import annotations

from typing import Final

from shared.zoho.call.http import Operation
from shared.zoho.products.setup_reader import SetupReader, ZohoRecord

_ORG: Final = Operation("crm", "get_org", "GET", repeatable=True)
_FIELDS: Final = Operation("crm", "get_fields", "GET", repeatable=True)
_CHANNELS: Final = Operation("crm", "get_notifications", "GET", repeatable=True)


class CrmSetup(SetupReader):
    async def crm_edition(self) -> str:
        """In lower case, as `ZOHO_CRM_EDITION` is. Empty when Zoho does not say."""
        rows: list[ZohoRecord] = list((await self._get(_ORG, "/org")).get("org") or [])
        details = rows[0].get("license_details") or {} if rows else {}
        return str(details.get("paid_type") or "").lower()

    async def crm_contact_fields(self) -> dict[str, bool]:
        """API name of each field of contacts → whether it is unique.

        `include` is required by Zoho's OpenAPI file. What it adds is not looked at.
        """
        asked = {"module": "Contacts", "include": "allowed_permissions_to_update"}
        body = await self._get(_FIELDS, "/settings/fields", **asked)
        return {str(one["api_name"]): bool(one.get("unique")) for one in body.get("fields") or []}

    async def crm_channels(self) -> list[ZohoRecord]:
        """Live notification channels: `events`, `channel_expiry`, `notify_url`, …"""
        return list((await self._get(_CHANNELS, "/actions/watch")).get("watch") or [])
