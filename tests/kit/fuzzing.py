"""Say how much a random test tries: little with all others, much with `make fuzz`."""

from __future__ import annotations

import os


def cases(few: int, many: int) -> int:
    """`many` when FUZZ=long, as `make fuzz` sets it."""
    return many if os.environ.get("FUZZ") == "long" else few
