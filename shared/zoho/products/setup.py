"""Read how the organization is set up at Zoho, for `zoho-relay doctor`.

Every method raises what `ZohoHttp.call` raises. What is returned names things of the set-up only
(fields, editions, webhooks), never a person's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.zoho.call.http import Operation, ZohoHttp, ZohoRequest
from shared.zoho.quota.priority import Priority

_LIST_PLANS: Final = Operation("billing", "list_plans", "GET", repeatable=True)
_LIST_EVENTS: Final = Operation("billing", "list_events", "GET", repeatable=True)
_GET_EVENT: Final = Operation("billing", "get_event", "GET", repeatable=True)
_LIST_CUSTOMERS: Final = Operation("billing", "list_customers", "GET", repeatable=True)
_GET_CUSTOMER: Final = Operation("billing", "get_customer", "GET", repeatable=True)
_BOOKS_ORGANIZATIONS: Final = Operation("books", "list_organizations", "GET", repeatable=True)
_LIST_INVOICES: Final = Operation("books", "list_invoices", "GET", repeatable=True)
_GET_INVOICE: Final = Operation("books", "get_invoice", "GET", repeatable=True)
_CRM_ORG: Final = Operation("crm", "get_org", "GET", repeatable=True)
_CRM_FIELDS: Final = Operation("crm", "get_fields", "GET", repeatable=True)
_CRM_CHANNELS: Final = Operation("crm", "get_notifications", "GET", repeatable=True)
_DESK_ORGANIZATIONS: Final = Operation("desk", "list_organizations", "GET", repeatable=True)
_DESK_DEPARTMENT: Final = Operation("desk", "get_department", "GET", repeatable=True)
_DESK_FIELDS: Final = Operation("desk", "list_fields", "GET", repeatable=True, weight=3)
_DESK_WEBHOOKS: Final = Operation("desk", "list_webhooks", "GET", repeatable=True, weight=3)

ZohoRecord = Mapping[str, Any]


class ZohoSetup:
    """One organization of ours, at one priority."""

    def __init__(
        self, http: ZohoHttp, *, org: str = "default", priority: Priority = Priority.READS
    ) -> None:
        self._http = http
        self._org = org
        self._priority = priority

    async def plan_codes(self) -> set[str]:
        """Of Billing's first 200 plans, active or not."""
        body = await self._get(_LIST_PLANS, "/plans", filter_by="PlanStatus.ALL", per_page=200)
        return {str(plan.get("plan_code")) for plan in body.get("plans") or []}

    async def billing_customer_fields(self) -> set[str] | None:
        """API names and labels of the newest customer's custom fields. None without a customer.

        Billing has no documented call that lists custom fields, and leaves out the empty ones.
        """
        listed = await self._get(_LIST_CUSTOMERS, "/customers", per_page=1)
        for row in listed.get("customers") or []:
            found = await self._get(_GET_CUSTOMER, f"/customers/{row['customer_id']}")
            return _names(found["customer"])
        return None

    async def newest_event_deliveries(self) -> list[str] | None:
        """Return the states of the webhooks of Billing's newest event: success, scheduled, failure.

        None without an event. Empty when nobody was notified of it.
        Source: finance reference §3.3.
        """
        listed = await self._get(_LIST_EVENTS, "/events", per_page=1)
        for row in (listed.get("events") or [])[:1]:
            found = await self._get(_GET_EVENT, f"/events/{row['event_id']}")
            event = found.get("event") or {}
            return [str(hook.get("status")) for hook in event.get("webhooks") or []]
        return None

    async def books_organizations(self) -> list[ZohoRecord]:
        """Those that the token's user belongs to: `organization_id`, `plan_name`, …"""
        return list((await self._get(_BOOKS_ORGANIZATIONS, "/organizations"))["organizations"])

    async def books_invoice_fields(self) -> set[str] | None:
        """API names and labels of the newest invoice's custom fields. None without an invoice."""
        listed = await self._get(_LIST_INVOICES, "/invoices", per_page=1)
        for row in listed.get("invoices") or []:
            found = await self._get(_GET_INVOICE, f"/invoices/{row['invoice_id']}")
            return _names(found["invoice"])
        return None

    async def crm_edition(self) -> str:
        """In lower case, as `ZOHO_CRM_EDITION` is. Empty when Zoho does not say."""
        rows: list[ZohoRecord] = list((await self._get(_CRM_ORG, "/org")).get("org") or [])
        details = rows[0].get("license_details") or {} if rows else {}
        return str(details.get("paid_type") or "").lower()

    async def crm_contact_fields(self) -> dict[str, bool]:
        """API name of each field of contacts → whether it is unique.

        `include` is required by Zoho's OpenAPI file. What it adds is not looked at.
        """
        asked = {"module": "Contacts", "include": "allowed_permissions_to_update"}
        body = await self._get(_CRM_FIELDS, "/settings/fields", **asked)
        return {str(one["api_name"]): bool(one.get("unique")) for one in body.get("fields") or []}

    async def crm_channels(self) -> list[ZohoRecord]:
        """Live notification channels: `events`, `channel_expiry`, `notify_url`, …"""
        return list((await self._get(_CRM_CHANNELS, "/actions/watch")).get("watch") or [])

    async def desk_organizations(self) -> list[ZohoRecord]:
        """Those that the token's user belongs to: `id`, `edition`, …"""
        return list((await self._get(_DESK_ORGANIZATIONS, "/organizations")).get("data") or [])

    async def desk_department(self, department_id: str) -> ZohoRecord:
        """Raises ZohoRejected (404) when there is none of this id."""
        return await self._get(_DESK_DEPARTMENT, f"/departments/{department_id}")

    async def desk_ticket_fields(self) -> set[str]:
        """API names of the fields of tickets."""
        body = await self._get(_DESK_FIELDS, "/organizationFields", module="tickets")
        return {str(one.get("apiName")) for one in body.get("data") or []}

    async def desk_webhooks(self) -> list[ZohoRecord]:
        """`id`, `url`, `isEnabled`, `subscriptions`, `includeEventsFrom`."""
        return list((await self._get(_DESK_WEBHOOKS, "/webhooks")).get("data") or [])

    async def _get(self, operation: Operation, path: str, **params: str | int) -> ZohoRecord:
        call = operation.call(self._org, self._priority)
        return (await self._http.call(ZohoRequest(operation, path, call, params))).body


def _names(record: ZohoRecord) -> set[str]:
    return {
        str(field[name])
        for field in record.get("custom_fields") or []
        for name in ("api_name", "label")
        if field.get(name)
    }
