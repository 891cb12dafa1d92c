"""Build the sandbox: one aiohttp application on one port, with a path prefix for each product."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Middleware

from services.zoho_sandbox.accounts import routes as accounts
from services.zoho_sandbox.billing import routes as billing
from services.zoho_sandbox.books import routes as books
from services.zoho_sandbox.crm import routes as crm
from services.zoho_sandbox.desk import routes as desk
from services.zoho_sandbox.finance import integration
from services.zoho_sandbox.server import admin
from services.zoho_sandbox.server.state_file import StateFile
from services.zoho_sandbox.server.world import World

_MAX_BODY = 64 * 1024 * 1024  # attachments and bulk files


def create_app(world: World) -> web.Application:
    """Return the application: every product's endpoints, the admin API and its background tasks."""
    path = world.settings.state_file
    file = None if path is None else StateFile(path, world)
    app = web.Application(
        client_max_size=_MAX_BODY,
        middlewares=[] if file is None else [_kept_before_the_answer(file)],
    )
    app.router.add_get("/healthz", _healthz)
    for part in (admin, accounts, billing, books, crm, desk):
        part.add_routes(app, world)
    app.cleanup_ctx.append(_lifetime(world, file))
    return app


def _kept_before_the_answer(file: StateFile) -> Middleware:
    @web.middleware
    async def keep(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        finally:
            file.append()

    return keep


def _lifetime(
    world: World, file: StateFile | None
) -> Callable[[web.Application], AsyncIterator[None]]:
    async def run(app: web.Application) -> AsyncIterator[None]:
        saver = None
        if file is not None:
            file.restore()
            integration.catch_up(world)
            saver = asyncio.create_task(file.save_on_change(), name="state file")
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
