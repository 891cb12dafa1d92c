"""Call the sandbox as any client would, without our own typed clients."""

from __future__ import annotations

from typing import Any, NamedTuple

import aiohttp

from services.zoho_sandbox.server.world import World


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]


class Zoho:
    """Calls the sandbox as any client would. Paths begin with the product's prefix."""

    def __init__(self, url: str, session: aiohttp.ClientSession, world: World) -> None:
        self.url = url
        self.session = session
        self.settings = world.settings
        self.token = ""
        self.log: list[str] = []

    async def ask(self, method: str, path: str, **more: Any) -> Answer:
        headers = {"Authorization": f"Zoho-oauthtoken {self.token}", **more.pop("headers", {})}
        if path.startswith("/books") and "organization_id" not in path:
            path += ("&" if "?" in path else "?") + "organization_id=10229182"
        url = self.url + path
        async with self.session.request(method, url, headers=headers, **more) as response:
            raw = await response.read()
            is_json = response.content_type == "application/json"
            body = await response.json() if is_json else raw
            return Answer(response.status, body, dict(response.headers))

    async def mint(self, **changed: str) -> Answer:
        form = {
            "grant_type": "refresh_token",
            "client_id": self.settings.client_id,
            "client_secret": self.settings.client_secret.get_secret_value(),
            "refresh_token": self.settings.refresh_token.get_secret_value(),
            **changed,
        }
        return await self.ask("POST", "/accounts/oauth/v2/token", data=form)

    async def new_customer(self, **fields: Any) -> dict[str, Any]:
        body = {"display_name": "Ada Lovelace", "email": "ada@example.com", **fields}
        answer = await self.ask("POST", "/billing/v1/customers", json=body)
        assert answer.status == 201
        return dict(answer.body["customer"])

    async def subscribe(self, customer_id: str, plan_code: str, **fields: Any) -> dict[str, Any]:
        plan = {"plan_code": plan_code, **fields.pop("plan", {})}
        body = {"customer_id": customer_id, "plan": plan, **fields}
        answer = await self.ask("POST", "/billing/v1/subscriptions", json=body)
        assert answer.status == 201
        return dict(answer.body["subscription"])

    async def billing(self, path: str) -> Any:
        return (await self.ask("GET", f"/billing/v1{path}")).body

    async def books(self, path: str) -> Any:
        return (await self.ask("GET", f"/books/v3{path}")).body
