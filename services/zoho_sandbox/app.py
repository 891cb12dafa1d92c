"""The sandbox put together: one aiohttp application, one port, a prefix per product."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from services.zoho_sandbox import accounts, admin
from services.zoho_sandbox.world import World

_PRODUCTS = ("billing", "books", "crm", "desk")
_MAX_BODY = 64 * 1024 * 1024  # attachments and bulk files


def create_app(world: World) -> web.Application:
    """All products' endpoints, the admin API, and the tasks that end with the application."""
    app = web.Application(client_max_size=_MAX_BODY)
    app.router.add_get("/healthz", _healthz)
    admin.add_routes(app, world)
    accounts.add_routes(app, world)
    for product in _PRODUCTS:
        with suppress(ModuleNotFoundError):
            importlib.import_module(f"services.zoho_sandbox.{product}").add_routes(app, world)
    app.cleanup_ctx.append(_lifetime(world))
    return app


def _lifetime(world: World):  # type: ignore[no-untyped-def]
    async def run(app: web.Application) -> AsyncIterator[None]:
        keeper = None
        if world.settings.state_file is not None:
            world.restore(world.settings.state_file)
            keeper = asyncio.create_task(world.keep(world.settings.state_file), name="state file")
        yield
        world.faults.clear()
        await world.webhooks.close()
        if keeper is not None:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper

    return run


async def _healthz(request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})
