"""Run `zoho-relay` on a running system, and know how far it is while it runs."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.stack import Stack

_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class CommandRun:
    """What a command printed, and its exit code. Negative: the signal that ended it."""

    code: int
    out: str
    err: str


async def zoho_relay(
    stack: Stack, *arguments: str, at_progress: Callable[[Process], None] | None = None
) -> CommandRun:
    """Run the command to its end. `at_progress` is called once, with its first line of progress."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.operator", *arguments),
        env={
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "ZOHO_RELAY_ENV_FILE": str(stack.folder / "settings.env"),
        },
        stdout=PIPE,
        stderr=PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []

    async def read_errors(stream: asyncio.StreamReader) -> None:
        waits_for_progress = at_progress
        async for line in stream:
            lines.append(line.decode())
            if waits_for_progress is not None and "looked at" in lines[-1]:
                waits_for_progress(process)
                waits_for_progress = None

    out, _ = await asyncio.gather(process.stdout.read(), read_errors(process.stderr))
    code = await process.wait()
    assert "Traceback" not in "".join(lines), "".join(lines)
    return CommandRun(code, out.decode(), "".join(lines))
