"""Hold one request to Zoho as its caller wants it, and how far its attempts have come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.zoho.call.operation import Operation
from shared.zoho.quota.call import Call

Params = Mapping[str, str | int]


@dataclass
class ZohoRequest:
    """`path` begins with `/` and follows the product's prefix (`/customers`).

    The organization's id is added by itself, as the product wants it. `json` may hold `Decimal`.
    """

    operation: Operation
    path: str
    call: Call
    params: Params = field(default_factory=dict)
    json: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 0
    token_replaced: bool = False

    @property
    def org(self) -> str:
        return self.call.org

    @property
    def repeatable(self) -> bool:
        return self.operation.repeatable or self.operation.reads

    @property
    def name(self) -> str:
        return f"{self.operation.product} {self.operation.name}"
