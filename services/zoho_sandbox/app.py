"""Build the sandbox: one aiohttp application on one port, with a path prefix for each product."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from aiohttp import web

from services.zoho_sandbox.accounts import routes as accounts
from services.zoho_sandbox.billing import routes as billing
from services.zoho_sandbox.books import routes as books
from services.zoho_sandbox.crm import routes as crm
from services.zoho_sandbox.desk import routes as desk
from services.zoho_sandbox.finance import integration
from services.zoho_sandbox.server import admin
from services.zoho_sandbox.server.world import World

_MAX_BODY = 64 * 1024 * 1024  # attachments and bulk files


def create_app(world: World) -> web.Application:
    """Return the application: every product's endpoints, the admin API and its background tasks."""
    app = web.Application(client_max_size=_MAX_BODY)
    app.router.add_get("/healthz", _healthz)
    for part in (admin, accounts, billing, books, crm, desk):
        part.add_routes(app, world)
    app.cleanup_ctx.append(_lifetime(world))
    return app


def _lifetime(world: World) -> Callable[[web.Application], AsyncIterator[None]]:
    async def run(app: web.Application) -> AsyncIterator[None]:
        saver = None
        if world.settings.state_file is not None:
            world.restore(world.settings.state_file)
            integration.catch_up(world)
            saver = asyncio.create_task(
                world.save_on_change(world.settings.state_file), name="state file"
            )
        yield
        world.faults.clear()
        await world.webhooks.close()
        if saver is not None:
            saver.cancel()
            with suppress(asyncio.CancelledError):
                await saver

    return run


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})
