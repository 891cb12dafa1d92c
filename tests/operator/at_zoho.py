"""Run what `doctor` needs: the sandbox, token-service, and a worker's queues."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from deploy.local.environment import DESK_ORG_ID, ORGANIZATION_ID, zoho_settings
from services.token_service.app import build
from services.token_service.settings import Settings
from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings
from tests.operator.conftest import CommandOutput, Desk, until

KEY = "the-key-of-token-service"
HANDLED_BY_NOBODY: dict[str, Any] = {}


@dataclass
class House:
    """Run the operator's command with Zoho in reach. `environment` may be changed before asking."""

    desk: Desk
    world: World
    environment: dict[str, str] = field(default_factory=dict)

    async def ask(self, *arguments: str, **environment: str) -> CommandOutput:
        return await self.desk.ask(*arguments, **{**self.environment, **environment})

    async def doctor(self, **environment: str) -> Diagnosis:
        return Diagnosis(await self.ask("doctor", "--json", **environment))

    def grant(self, code: str, scope: str | None = None) -> None:
        """Generate a grant code as the API console does."""
        more = {} if scope is None else {"scope": scope}
        self.world.table("accounts", "codes").add({"code": code, **more})

    def revoke(self) -> None:
        """As Zoho does it: the access tokens made from it die too."""
        for name in ("refresh_tokens", "tokens"):
            table = self.world.table("accounts", name)
            for row in list(table):
                table.save({**row, "status": "revoked"})

    def scopes(self, text: str) -> None:
        """Take away what is not in `text`."""
        table = self.world.table("accounts", "refresh_tokens")
        for row in list(table):
            table.save({**row, "scope": text})


class Diagnosis:
    """The findings of `zoho-relay doctor`."""

    def __init__(self, output: CommandOutput) -> None:
        self.output = output
        self.code = output.code

    def line(self, area: str, check: str) -> dict[str, Any]:
        (found,) = [
            row for row in self.output.rows if row["area"] == area and row["check"] == check
        ]
        return found

    def state(self, area: str, check: str) -> str:
        return str(self.line(area, check)["state"])

    @property
    def wrong(self) -> set[tuple[str, str]]:
        return {(row["area"], row["check"]) for row in self.output.rows if row["state"] == "wrong"}


@asynccontextmanager
async def house(desk: Desk, database_url: str, ring: str) -> AsyncIterator[House]:
    sandbox = SandboxSettings(organization_id=ORGANIZATION_ID, desk_org_id=DESK_ORG_ID)
    world = World(sandbox)
    runner = web.AppRunner(create_app(world), access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with AsyncExitStack() as stack:
        stack.push_async_callback(runner.cleanup)
        tokens = await build(stack, _token_settings(sandbox, url, database_url, ring))
        worker = await stack.enter_async_context(desk.worker(HANDLED_BY_NOBODY))
        await until(worker.ready)
        environment = {
            **zoho_settings(url),
            "ZOHO_DESK_WEBHOOK_ID": "",
            "TOKEN_SERVICE_URL": f"http://127.0.0.1:{tokens.port}",
            "TOKEN_SERVICE_KEY": KEY,
        }
        yield House(desk, world, environment)


def _token_settings(sandbox: SandboxSettings, url: str, database_url: str, ring: str) -> Settings:
    return Settings(
        database_url=SecretStr(database_url),
        token_service_key=SecretStr(KEY),
        encryption_keys=SecretStr(ring),
        zoho_accounts_url=f"{url}/accounts",
        zoho_client_id=sandbox.client_id,
        zoho_client_secret=sandbox.client_secret,
        zoho_refresh_token=sandbox.refresh_token,
        http_host="127.0.0.1",
        http_port=0,
        metrics_port=0,
    )
