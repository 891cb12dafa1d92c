"""Make keys for the key rings of tests."""

from __future__ import annotations

import base64
import secrets


def fresh_key(key_id: str) -> str:
    """Return a new random key in the form that `KeyRing.parse` reads."""
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(32)).decode()}"
