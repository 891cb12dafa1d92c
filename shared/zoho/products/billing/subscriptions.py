"""Plans and subscriptions of Zoho Billing. Source: https://www.zoho.com/billing/api/v1/subscription/."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from shared.zoho.call.http import Operation
from shared.zoho.products.billing.models import Addon, Plan, Subscription
from shared.zoho.products.billing.settings import BillingFields
from shared.zoho.products.finance.client import FinanceClient
from shared.zoho.products.finance.pages import all_rows

CREATE_SUBSCRIPTION: Final = Operation("billing", "create_subscription", "POST", search_lag_s=10)
_GET_PLAN: Final = Operation("billing", "get_plan", "GET", repeatable=True)
_GET_ADDON: Final = Operation("billing", "get_addon", "GET", repeatable=True)
_GET: Final = Operation("billing", "get_subscription", "GET", repeatable=True)
_LIST: Final = Operation("billing", "list_subscriptions", "GET", repeatable=True)
_UPDATE: Final = Operation("billing", "update_subscription", "PUT", repeatable=True)
_CANCEL: Final = Operation("billing", "cancel_subscription", "POST", repeatable=True)
_REACTIVATE: Final = Operation("billing", "reactivate_subscription", "POST", repeatable=True)


class BillingSubscriptions(FinanceClient[BillingFields]):
    async def plan(self, plan_code: str) -> Plan:
        """Raises ZohoRejected (404) for a code that the organization does not have."""
        reply = await self._call(_GET_PLAN, f"/plans/{plan_code}")
        return Plan.model_validate(reply.body["plan"])

    async def addon(self, addon_code: str) -> Addon:
        """Raises ZohoRejected (404) for a code that the organization does not have."""
        reply = await self._call(_GET_ADDON, f"/addons/{addon_code}")
        return Addon.model_validate(reply.body["addon"])

    async def create_subscription(
        self,
        *,
        customer_id: str,
        subscription_id: str,
        plan_code: str,
        quantity: int | None = None,
        addons: Mapping[str, int] | None = None,
        trial_days: int | None = None,
        coupon_code: str | None = None,
        starts_at: date | None = None,
        card_id: str | None = None,
    ) -> Subscription:
        """Subscribe a customer. Our `subscription_id` goes along as `reference_id`.

        Without `card_id` the subscription is offline (`auto_collect: false`): Zoho makes invoices
        and charges nobody. `trial_days` wins over the plan's own trial. 0 starts at once.
        Zoho makes another one each time it is asked: only inside an effect.

        Raises:
            ZohoRejected: unknown plan, add-on, coupon or card.
        """
        plan: dict[str, Any] = {"plan_code": plan_code}
        if quantity is not None:
            plan["quantity"] = quantity
        if trial_days is not None:
            plan["trial_days"] = trial_days
        body: dict[str, Any] = {
            "customer_id": customer_id,
            "plan": plan,
            "reference_id": subscription_id,
            "auto_collect": card_id is not None,
        }
        if addons:
            body["addons"] = _addons(addons)
        if card_id is not None:
            body["card_id"] = card_id
        if coupon_code is not None:
            body["coupon_code"] = coupon_code
        if starts_at is not None:
            body["starts_at"] = starts_at.isoformat()
        reply = await self._call(CREATE_SUBSCRIPTION, "/subscriptions", json=body)
        return Subscription.model_validate(reply.body["subscription"])

    async def subscription(self, zoho_id: str) -> Subscription:
        """Raises ZohoRejected (404) when the organization does not have it."""
        reply = await self._call(_GET, f"/subscriptions/{zoho_id}")
        return Subscription.model_validate(reply.body["subscription"])

    async def subscription_with_reference(
        self, subscription_id: str, *, customer_id: str
    ) -> Subscription | None:
        """The customer's subscription that carries our id. A new one may be missing for seconds.

        `reference_contains` finds substrings, and rows of a list may lack the reference, so each
        candidate is compared, and read when its row does not say.
        """
        filters = {"reference_contains": subscription_id, "customer_id": customer_id}
        for row in await self._listed(filters):
            if row.customer_id != customer_id or row.reference_id not in (subscription_id, None):
                continue
            subscription = await self.subscription(row.subscription_id)
            if subscription.reference_id == subscription_id:
                return subscription
        return None

    async def subscriptions_of(self, customer_id: str) -> list[Subscription]:
        """All subscriptions of a customer, ended ones too."""
        rows = await self._listed({"customer_id": customer_id})
        return [row for row in rows if row.customer_id == customer_id]

    async def update_subscription(
        self,
        zoho_id: str,
        *,
        plan_code: str,
        quantity: int | None = None,
        addons: Mapping[str, int] | None = None,
        at_term_end: bool = False,
    ) -> Subscription:
        """Move to another plan, quantity or add-ons, at once or when the term ends.

        The plan's code has to be sent even when only the quantity changes. `addons` replaces those
        that there are. None leaves them.
        """
        plan: dict[str, Any] = {"plan_code": plan_code}
        if quantity is not None:
            plan["quantity"] = quantity
        body: dict[str, Any] = {"plan": plan, "end_of_term": at_term_end}
        if addons is not None:
            body["addons"] = _addons(addons)
        reply = await self._call(_UPDATE, f"/subscriptions/{zoho_id}", json=body)
        return Subscription.model_validate(reply.body["subscription"])

    async def cancel_subscription(self, zoho_id: str, *, at_term_end: bool) -> Subscription:
        """Cancel now, or at the end of the term already paid for.

        Returns the subscription as Zoho now has it: `non_renewing` when it runs to the end of its
        term, `cancelled` when it stopped at once.
        Raises:
            ZohoRejected: unknown to this organization, or in a state with no cancel.
        """
        reply = await self._call(
            _CANCEL,
            f"/subscriptions/{zoho_id}/cancel",
            params={"cancel_at_end": str(at_term_end).lower()},
        )
        return Subscription.model_validate(reply.body["subscription"])

    async def reactivate_subscription(self, zoho_id: str) -> Subscription:
        """Renew again what was to end with its term. Zoho refuses any state but `non_renewing`."""
        reply = await self._call(_REACTIVATE, f"/subscriptions/{zoho_id}/reactivate")
        return Subscription.model_validate(reply.body["subscription"])

    async def _listed(self, filters: dict[str, str]) -> list[Subscription]:
        fetch = self._page(_LIST, "/subscriptions")
        params = {"filter_by": "SubscriptionStatus.All", **filters}
        rows = await all_rows(fetch, params, "subscriptions")
        return [Subscription.model_validate(row) for row in rows]


def _addons(chosen: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"addon_code": code, "quantity": quantity} for code, quantity in chosen.items()]
