"""Build a `ZohoHttp` for tests: real connections, a token at hand, a quota that counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from shared.zoho.call.breakers import Breakers
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.http import ZohoHttp, ZohoRequest
from shared.zoho.call.operation import Called, Operation, Reply
from shared.zoho.call.tokens import Token
from shared.zoho.call.transport import open_transport
from shared.zoho.products.profiles import PROFILES
from shared.zoho.quota.call import Call
from shared.zoho.quota.priority import Priority
from shared.zoho.quota.quota import Permit, QuotaFeedback

ORGANIZATIONS = {"billing": "700", "books": "701", "desk": "702"}
READ = Operation("billing", "get_customer", "GET")
CREATE = Operation("billing", "create_customer", "POST", search_lag_s=33.0)
CANCEL = Operation("billing", "cancel_subscription", "POST", repeatable=True)


class HeldTokens:
    """Stand in for `Tokens` without a token-service: a new token at each report."""

    def __init__(self) -> None:
        self.reported: list[str] = []

    async def get(self, org: str) -> Token:
        return Token(f"token-{len(self.reported)}", 9e9, "https://www.zohoapis.com")

    async def replace(self, org: str, refused: Token) -> Token:
        self.reported.append(refused.access_token)
        return await self.get(org)

    def is_new(self, token: Token) -> bool:
        return True


class SandboxToken(HeldTokens):
    def __init__(self, access_token: str) -> None:
        super().__init__()
        self._access_token = access_token

    async def get(self, org: str) -> Token:
        return Token(self._access_token, 9e9, "")


@dataclass
class CountingQuota:
    """Grants everything, and remembers what became of each permit."""

    taken: int = 0
    weights: list[int] = field(default_factory=list)
    released: list[QuotaFeedback] = field(default_factory=list)
    given_back: int = 0

    async def take(self, call: Call, *, write_within_s: float) -> Permit:
        self.taken += 1
        self.weights.append(call.weight)
        return Permit(self.taken, call, 9e9, 9e9)

    async def release(self, permit: Permit, feedback: QuotaFeedback) -> QuotaFeedback:
        self.release_soon(permit, feedback)
        return feedback

    def release_soon(self, permit: Permit, feedback: QuotaFeedback) -> None:
        permit.spent = True
        self.released.append(feedback)

    async def give_back(self, permit: Permit) -> None:
        if not permit.spent:
            permit.spent = True
            self.given_back += 1


def call_of(operation: Operation, **more: Any) -> Call:
    """Return a call as a worker makes it for a command."""
    return operation.call("default", Priority.COMMANDS, **more)


def request_of(
    operation: Operation, path: str, *, weight: int | None = None, **more: Any
) -> ZohoRequest:
    return ZohoRequest(operation, path, call_of(operation, weight=weight), **more)


@dataclass
class Access:
    http: ZohoHttp
    tokens: HeldTokens
    quota: CountingQuota
    breakers: Breakers
    calls: list[Called]

    async def call(self, operation: Operation, path: str = "/customers", **more: Any) -> Reply:
        permit = more.pop("permit", None)
        return await self.http.call(request_of(operation, path, **more), permit)


@asynccontextmanager
async def zoho_access(url: str = "") -> AsyncIterator[Access]:
    """`url`: a server that stands for all products. Without it, a mock answers for Zoho's hosts."""
    overrides = dict.fromkeys(("billing", "books", "crm", "desk"), url) if url else {}
    tokens, quota, breakers = HeldTokens(), CountingQuota(), Breakers()
    calls: list[Called] = []
    async with open_transport() as transport:
        http = ZohoHttp(
            transport,
            cast("Any", tokens),
            cast("Any", quota),
            {"default": Endpoints(PROFILES, overrides=overrides, organization_ids=ORGANIZATIONS)},
            breakers,
            observers=[calls.append],
            first_wait_s=0.01,
        )
        yield Access(http, tokens, quota, breakers, calls)
