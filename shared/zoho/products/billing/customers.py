"""Customers of Zoho Billing. Source: https://www.zoho.com/billing/api/v1/customers/."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

from shared.errors import ZohoRejected
from shared.zoho.call.http import Operation
from shared.zoho.products.billing.models import Customer
from shared.zoho.products.billing.settings import BillingFields
from shared.zoho.products.finance.client import FinanceClient
from shared.zoho.products.finance.custom_fields import (
    CustomFieldForm,
    name_in,
    other_form,
    usual_form,
)
from shared.zoho.products.finance.pages import Listing, pages
from shared.zoho.products.values import ZohoModel

M = TypeVar("M", bound=ZohoModel)

CREATE_CUSTOMER: Final = Operation("billing", "create_customer", "POST", search_lag_s=10)
_GET_CUSTOMER: Final = Operation("billing", "get_customer", "GET", repeatable=True)
_LIST_CUSTOMERS: Final = Operation("billing", "list_customers", "GET", repeatable=True)
_UPDATE_CUSTOMER: Final = Operation("billing", "update_customer", "PUT", repeatable=True)
_MARK_INACTIVE: Final = Operation("billing", "mark_customer_inactive", "POST", repeatable=True)
# https://www.zoho.com/billing/api/v1/customers/#update-a-customer
_PERSONAL: Final = (
    "salutation",
    "first_name",
    "last_name",
    "company_name",
    "phone",
    "mobile",
)
_ADDRESSES: Final = ("billing_address", "shipping_address")
_ADDRESS: Final = ("attention", "street", "city", "state", "zip", "country", "fax")


class BillingCustomers(FinanceClient[BillingFields]):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Shared by the copies of this client for other priorities.
        self._ignored_filters: set[str] = set()
        self._field_form: list[CustomFieldForm] = []

    async def create_customer(
        self,
        *,
        user_id: str,
        display_name: str,
        email: str,
        first_name: str | None = None,
        last_name: str | None = None,
        phone: str | None = None,
    ) -> Customer:
        """Make a customer. Zoho makes another one each time it is asked: only inside an effect.

        The portal is never enabled, because Zoho would then invite the customer to its own pages.
        """
        body = _without_none(
            display_name=display_name,
            email=email,
            first_name=first_name,
            last_name=last_name,
            phone=phone,
            is_portal_enabled=False,
            custom_fields=self._custom_fields(user_id),
        )
        reply = await self._call(CREATE_CUSTOMER, "/customers", json=body)
        return Customer.model_validate(reply.body["customer"])

    async def customer(self, customer_id: str) -> Customer:
        """The customer as Zoho has it, custom fields included.

        Raises:
            ZohoRejected: unknown to this organization (status 404).
        """
        reply = await self._call(_GET_CUSTOMER, f"/customers/{customer_id}")
        return Customer.model_validate(reply.body["customer"])

    async def customers_with_email(self, email: str, *, thorough: bool = False) -> list[Customer]:
        """Those whose email is this one, whatever its case. New ones may be missing for seconds.

        The filters are used by public code and are not in Zoho's reference. A filter that Zoho
        does not know is ignored, and everybody comes back. That shows in the first page, and
        another filter is used from then on. Without any, one page is read, or all when `thorough`.
        """
        for name in ("email", "email_contains"):
            if name in self._ignored_filters:
                continue
            customers = await self._unless_ignored(name, email)
            if customers is not None:
                return [customer for customer in customers if _same(customer.email, email)]
            self._ignored_filters.add(name)
        customers = []
        async for page in self._customer_pages({}):
            customers += [customer for customer in page if _same(customer.email, email)]
            if not thorough:
                break
        return customers

    async def _unless_ignored(self, name: str, email: str) -> list[Customer] | None:
        """The customers that the filter lets through; None when Zoho ignores the filter."""
        customers: list[Customer] = []
        async for page in self._customer_pages({name: email}):
            if not all(_contains(customer.email, email) for customer in page):
                return None
            customers += page
        return customers

    async def _customer_pages(self, params: dict[str, str]) -> AsyncIterator[list[Customer]]:
        fetch = self._page(_LIST_CUSTOMERS, "/customers")
        async for rows in pages(fetch, params, "customers"):
            yield [Customer.model_validate(row) for row in rows]

    def customer_rows(self, model: type[M]) -> Listing[M]:
        """All customers as another model reads them."""
        return Listing(
            fetch=self._page(_LIST_CUSTOMERS, "/customers"),
            params={},
            keys=("customers",),
            model=model,
            wanted=lambda _: True,
        )

    async def customer_of_user(self, user_id: str, *, email: str) -> Customer | None:
        """The customer that carries `user_id` in our custom field. None without such a field.

        Lists do not show custom fields, so the customers with this email are read one by one.
        """
        if not self._user_field:
            return None
        for listed in await self.customers_with_email(email, thorough=True):
            customer = await self.customer(listed.customer_id)
            if self.user_of(customer) == user_id:
                return customer
        return None

    @property
    def marks_users(self) -> bool:
        """Whether each customer that is created carries our id in a custom field."""
        return self._user_field is not None

    def user_of(self, customer: Customer) -> str | None:
        """Return the user whose customer it says it is: our id in its custom field."""
        field = self._user_field
        if field is None:
            return None
        return customer.custom_field(field) or customer.custom_field(
            name_in(other_form(usual_form(field)), field)
        )

    def use_field_form(self, form: CustomFieldForm) -> None:
        """Name our custom field in this form from now on, on every copy of this client."""
        self._field_form[:] = [form]

    async def mark_customer(self, customer: Customer, user_id: str) -> CustomFieldForm | None:
        """Write our id into the customer that was created without it, in the other form.

        The reference has `label`, public code of other finance products `api_name`. Zoho ignores
        what it does not know, so the answer is looked at. Returns the form that Billing stores,
        which is used from then on. None when it stores neither, or refuses the other one: then
        there is no such field.
        """
        form = other_form(self._form)
        body = {
            "display_name": customer.display_name,
            "email": customer.email,
            "custom_fields": self._custom_fields(user_id, form),
        }
        path = f"/customers/{customer.customer_id}"
        try:
            reply = await self._call(_UPDATE_CUSTOMER, path, json=body)
        except ZohoRejected:
            return None
        if self.user_of(Customer.model_validate(reply.body["customer"])) != user_id:
            return None
        self.use_field_form(form)
        return form

    async def update_customer(
        self,
        customer_id: str,
        *,
        display_name: str,
        email: str,
        first_name: str | None = None,
        last_name: str | None = None,
        phone: str | None = None,
        user_id: str | None = None,
    ) -> Customer:
        """Set these fields. None leaves a field as it is. Name and email are always required."""
        body = _without_none(
            display_name=display_name,
            email=email,
            first_name=first_name,
            last_name=last_name,
            phone=phone,
            custom_fields=self._custom_fields(user_id) if user_id else None,
        )
        reply = await self._call(_UPDATE_CUSTOMER, f"/customers/{customer_id}", json=body)
        return Customer.model_validate(reply.body["customer"])

    async def anonymize_customer(self, customer_id: str, *, display_name: str, email: str) -> None:
        """Empty every personal field that the API changes. Name and email are required, so others
        take their place. Website, department, designation and notes cannot be changed.

        Our custom field stays: it shows that the customer is nobody else's.
        """
        body = {
            "display_name": display_name,
            "email": email,
            **dict.fromkeys(_PERSONAL, ""),
            **{address: dict.fromkeys(_ADDRESS, "") for address in _ADDRESSES},
        }
        await self._call(_UPDATE_CUSTOMER, f"/customers/{customer_id}", json=body)

    async def mark_customer_inactive(self, customer_id: str) -> None:
        await self._call(_MARK_INACTIVE, f"/customers/{customer_id}/markasinactive")

    def _custom_fields(
        self, user_id: str, form: CustomFieldForm | None = None
    ) -> list[dict[str, str]] | None:
        if not self._user_field:
            return None
        form = form or self._form
        return [{form: name_in(form, self._user_field), "value": user_id}]

    @property
    def _form(self) -> CustomFieldForm:
        return self._field_form[0] if self._field_form else usual_form(self._user_field or "")

    @property
    def _user_field(self) -> str | None:
        return self._settings.zoho_billing_user_field


def _contains(one: str | None, part: str) -> bool:
    return one is not None and part.strip().casefold() in one.casefold()


def _same(one: str | None, other: str) -> bool:
    return one is not None and one.strip().casefold() == other.strip().casefold()


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
