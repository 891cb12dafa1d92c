"""Run `make demo`: a system of its own, new every time, and the story on it.

Its data and logs stay under `.run/demo` until the next one, for whoever wants to look inside.
"""

import asyncio
import sys
import time

from deploy.demo.__main__ import play
from deploy.demo.narrator import Narrator
from deploy.local.environment import ForeignZoho
from deploy.local.postgres import NotInstalled
from deploy.local.stack import ROOT, Stack, StackFailed

FOLDER = ROOT / ".run" / "demo"


def main() -> int:
    stack = Stack(FOLDER)
    try:
        stack.discard()
        print("Starting RabbitMQ, PostgreSQL, the sandbox and the five services …", flush=True)
        began = time.monotonic()
        with stack:
            print(f"… ready after {time.monotonic() - began:.0f} s.\n", flush=True)
            came_true = asyncio.run(
                play(stack.env["AMQP_URL"], stack.env["SANDBOX_URL"], Narrator())
            )
    except (StackFailed, ForeignZoho, NotInstalled) as error:
        print(f"zoho-relay: {error}", file=sys.stderr)
        return 1
    print("\nIts data and logs: .run/demo/ (stack.env says where everything is).")
    return 0 if came_true else 1


if __name__ == "__main__":
    sys.exit(main())
