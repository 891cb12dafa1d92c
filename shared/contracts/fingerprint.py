"""Compute a digest by which the same id with other content shows."""

from __future__ import annotations

import hashlib

import orjson
from pydantic import BaseModel


def fingerprint(command: BaseModel) -> str:
    """Return a digest of what the command asks for. When it was published does not count."""
    content = command.model_dump(mode="json", exclude={"occurred_at"}, exclude_none=True)
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
