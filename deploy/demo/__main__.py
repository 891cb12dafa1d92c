"""Play the story on a running stack: `python -m deploy.demo` with AMQP_URL and SANDBOX_URL set."""

from __future__ import annotations

import asyncio
import os
import sys

from deploy.demo.narrator import Narrator
from deploy.demo.story import Story
from deploy.driving.system_driver import SystemDriver
from services.zoho_sandbox.driver import WaitTimeout


async def play(amqp_url: str, sandbox_url: str, narrator: Narrator) -> bool:
    """Play the story once. True when every step came true."""
    async with SystemDriver(amqp_url, sandbox_url) as stage:
        try:
            await Story(stage, narrator).play()
        except WaitTimeout as failure:
            narrator.failed(str(failure))
            return False
    return True


def main() -> None:
    try:
        amqp_url, sandbox_url = os.environ["AMQP_URL"], os.environ["SANDBOX_URL"]
    except KeyError as missing:
        sys.exit(f"{missing.args[0]} is not set; `make demo` sets it")
    sys.exit(0 if asyncio.run(play(amqp_url, sandbox_url, Narrator())) else 1)


if __name__ == "__main__":
    main()
