"""Run token-service until SIGTERM: `python -m services.token_service`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from services.token_service.app import build
from services.token_service.settings import Settings
from shared.runtime import run


async def main(settings: Settings, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        await build(stack, settings)
        await stop.wait()


if __name__ == "__main__":
    run("token-service", Settings.load, main)
