"""Serve the sandbox until SIGTERM or SIGINT: `python -m services.zoho_sandbox`."""

from __future__ import annotations

import logging
import sys

from aiohttp import web
from pydantic import ValidationError

from services.zoho_sandbox.app import create_app
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings


def main() -> int:
    try:
        settings = SandboxSettings()
    except ValidationError as error:
        for problem in error.errors():
            name = "SANDBOX_" + "_".join(str(part) for part in problem["loc"]).upper()
            print(f"{name}: {problem['msg']}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    web.run_app(
        create_app(World(settings)),
        host=settings.host,
        port=settings.port,
        access_log=None,  # it would hold paths, and so ids
        shutdown_timeout=2.0,
        print=lambda *_: print(f"zoho-sandbox listens on {settings.host}:{settings.port}"),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
