"""Hold what every product's client needs: organization, priority, and a permit while it has one."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any, Generic, Self, TypeVar

from shared.environment import Environment
from shared.zoho.call.http import Operation, Permit, Reply, ZohoHttp, ZohoRequest
from shared.zoho.quota.priority import Priority

S = TypeVar("S", bound=Environment)


class ProductClient(Generic[S]):
    """A product's client for one organization. `settings` name the fields that carry our ids."""

    def __init__(
        self,
        http: ZohoHttp,
        settings: S,
        *,
        org: str = "default",
        priority: Priority = Priority.COMMANDS,
    ) -> None:
        self._http = http
        self._settings = settings
        self.org = org
        self.priority = priority
        self.permit: Permit | None = None

    def on(self, priority: Priority) -> Self:
        """Return the same client, whose calls have another priority."""
        other = copy(self)
        other.priority = priority
        return other

    def holding(self, permit: Permit) -> Self:
        """Return the same client, whose next call uses this permit instead of taking one."""
        other = copy(self)
        other.permit = permit
        return other

    async def _call(
        self,
        operation: Operation,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        weight: int | None = None,
    ) -> Reply:
        permit = None if self.permit is None or self.permit.spent else self.permit
        request = ZohoRequest(
            operation,
            path,
            operation.call(self.org, self.priority, weight=weight),
            params=params or {},
            json=json,
            headers=headers or {},
        )
        return await self._http.call(request, permit)
