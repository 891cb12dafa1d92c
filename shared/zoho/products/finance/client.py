"""Hold what the clients of Billing and Books share: reading lists by the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from shared.environment import Environment
from shared.zoho.call.http import Operation
from shared.zoho.products.client import ProductClient
from shared.zoho.products.finance.pages import Fetch

SettingsT = TypeVar("SettingsT", bound=Environment)


class FinanceClient(ProductClient[SettingsT]):
    def _page(self, operation: Operation, path: str) -> Fetch:
        """Return the function by which `pages` reads one page of this list."""

        async def fetch(params: dict[str, str]) -> Mapping[str, Any]:
            return (await self._call(operation, path, params=params)).body

        return fetch
