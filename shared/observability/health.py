"""Serve `/metrics`, `/healthz` and `/readyz` of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import structlog
from aiohttp import web

from shared.observability.logs import describe
from shared.observability.metrics import Metrics

Check = Callable[[], Awaitable[None]]

RECOVERY_CHECK = "recovery"
"""The check of /readyz that fails while work stands after a restore."""

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """Serves a process's health while its context is entered.

    A process is not ready before `started()` was called, whatever its checks return.
    `add` registers a check of readiness: it returns when all is well and raises otherwise.
    `before_scrape` registers a function that brings gauges up to date. One that fails leaves them
    as they were. Both may be called at any time.
    """

    def __init__(
        self, metrics: Metrics, *, host: str, port: int, check_timeout_s: float = 2.0
    ) -> None:
        self._metrics = metrics
        self._host = host
        self._port = port
        self._check_timeout_s = check_timeout_s
        self._checks: dict[str, Check] = {}
        self._refreshers: dict[str, Check] = {}
        self._runner: web.AppRunner | None = None
        self._checks["start"] = _still_starting

    def started(self) -> None:
        """Let the checks decide from now on whether the process is ready."""
        self._checks.pop("start", None)

    def add(self, name: str, check: Check) -> None:
        self._checks[name] = check

    def before_scrape(self, name: str, refresh: Check) -> None:
        self._refreshers[name] = refresh

    @property
    def port(self) -> int:
        """The port in use. It is a free one when port 0 was asked for."""
        if self._runner is None:
            return self._port
        return int(self._runner.addresses[0][1])

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._serve_metrics),
                web.get("/healthz", self._serve_alive),
                web.get("/readyz", self._serve_ready),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve_metrics(self, _: web.Request) -> web.Response:
        await self._run(self._refreshers)
        return web.Response(body=self._metrics.render(), headers={"Content-Type": _TEXT_FORMAT})

    async def _serve_alive(self, _: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _serve_ready(self, _: web.Request) -> web.Response:
        failing = await self._run(self._checks)
        status = 503 if failing else 200
        return web.json_response({"ready": not failing, "failing": failing}, status=status)

    async def _run(self, checks: dict[str, Check]) -> list[str]:
        """Run all at once, and return the names of those that failed or took too long."""
        names = list(checks)
        results = await asyncio.gather(*(self._passes(name, checks[name]) for name in names))
        return [name for name, passed in zip(names, results, strict=True) if not passed]

    async def _passes(self, name: str, check: Check) -> bool:
        try:
            async with asyncio.timeout(self._check_timeout_s):
                await check()
        except Exception as error:  # whatever the error, this part is not ready
            structlog.get_logger().debug("check failed", check=name, **describe(error))
            return False
        return True


async def _still_starting() -> None:
    raise RuntimeError("still starting")
