"""What the parts of the Billing client have in common: whom they ask for, on which lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from shared.settings import BillingFields
from shared.zoho.http import Operation, Permit, Reply, ZohoHttp
from shared.zoho.lanes import Lane
from shared.zoho.pages import Fetch


class BillingCalls:
    def __init__(
        self,
        http: ZohoHttp,
        settings: BillingFields,
        *,
        org: str = "default",
        lane: Lane = Lane.COMMANDS,
    ) -> None:
        self._http = http
        self._settings = settings
        self._user_field = settings.zoho_billing_user_field
        self.org = org
        self.lane = lane

    def on(self, lane: Lane) -> Self:
        """The same client, its calls taking their place in another lane."""
        return type(self)(self._http, self._settings, org=self.org, lane=lane)

    async def _call(
        self,
        operation: Operation,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        permit: Permit | None = None,
    ) -> Reply:
        return await self._http.call(
            operation, path, org=self.org, lane=self.lane, params=params, json=json, permit=permit
        )

    def _page(self, operation: Operation, path: str) -> Fetch:
        """How `pages` reads one page of this list."""

        async def fetch(params: dict[str, str]) -> Mapping[str, Any]:
            return (await self._call(operation, path, params=params)).body

        return fetch
