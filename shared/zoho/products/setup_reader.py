"""Read how an organization is set up at Zoho: what the products' readers share.

Every method raises what `ZohoHttp.call` raises. What is returned names things of the set-up only
(fields, editions, webhooks), never a person's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.zoho.call.http import Operation, ZohoHttp, ZohoRequest
from shared.zoho.quota.priority import Priority

ZohoRecord = Mapping[str, Any]


class SetupReader:
    """One organization of ours, at one priority."""

    def __init__(
        self, http: ZohoHttp, *, org: str = "default", priority: Priority = Priority.READS
    ) -> None:
        self._http = http
        self._org = org
        self._priority = priority

    async def _get(self, operation: Operation, path: str, **params: str | int) -> ZohoRecord:
        call = operation.call(self._org, self._priority)
        return (await self._http.call(ZohoRequest(operation, path, call, params))).body
