"""Record what a system sends to its application in a file of JSON lines, for a search afterwards.

Only where the variable `DRIVER_RECORD` names the file. Drivers in several processes share it.
"""

from __future__ import annotations

import json
import os
from typing import Any, Final

VARIABLE: Final = "DRIVER_RECORD"


def record(kind: str, name: str, body: bytes) -> None:
    """Append an `event` or a `reply` as it was received. `name`: routing key or correlation id.

    One write with O_APPEND, so that lines of several processes do not mix.
    """
    file = os.environ.get(VARIABLE)
    if not file:
        return
    entry: dict[str, Any] = {"kind": kind, "name": name, "body": body.decode()}
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps(entry).encode() + b"\n")
    finally:
        os.close(descriptor)
