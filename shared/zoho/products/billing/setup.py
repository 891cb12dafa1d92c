"""Read how Zoho Billing is set up, for `zoho-relay doctor`."""

from __future__ import annotations

from typing import Final

from shared.zoho.call.http import Operation
from shared.zoho.products.finance.custom_fields import names_of_custom_fields
from shared.zoho.products.setup_reader import SetupReader

_LIST_PLANS: Final = Operation("billing", "list_plans", "GET", repeatable=True)
_LIST_CUSTOMERS: Final = Operation("billing", "list_customers", "GET", repeatable=True)
_GET_CUSTOMER: Final = Operation("billing", "get_customer", "GET", repeatable=True)
_LIST_EVENTS: Final = Operation("billing", "list_events", "GET", repeatable=True)
_GET_EVENT: Final = Operation("billing", "get_event", "GET", repeatable=True)


class BillingSetup(SetupReader):
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
            return names_of_custom_fields(found["customer"])
        return None

    async def newest_event_deliveries(self) -> list[str] | None:
        """Return the states of the webhooks of Billing's newest event: success, scheduled, failure.

        None without an event. Empty when nobody was notified of it.
        Source: docs/zoho/finance.md §3.3.
        """
        listed = await self._get(_LIST_EVENTS, "/events", per_page=1)
        for row in (listed.get("events") or [])[:1]:
            found = await self._get(_GET_EVENT, f"/events/{row['event_id']}")
            event = found.get("event") or {}
            return [str(hook.get("status")) for hook in event.get("webhooks") or []]
        return None
