"""Write the settings that the containers read, before any of them starts.

With Zoho's credentials in the environment (compose passes `.env`), those; without, or once the
profile `demo` was used, the sandbox's, with keys made here. What is made is kept in the volumes:
what the keys have sealed must stay readable. The client secret and the refresh token go to
token-service alone, in a volume that no other service mounts.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

ALL = Path("/settings")
TOKEN_SERVICE = Path("/token-settings")
DEMO_ONLY = ALL / "demo-only"
ONLY_FOR_TOKEN_SERVICE = ("ZOHO_CLIENT_ID", "ZOHO_CLIENT_SECRET", "ZOHO_REFRESH_TOKEN")
SANDBOX = "http://zoho-sandbox:8090"
STACK = {
    "AMQP_URL": "amqp://relay:relay@rabbitmq:5672/",
    "DATABASE_URL": "postgresql://relay:relay@postgres:5432/relay",
    "TOKEN_SERVICE_URL": "http://token-service:8081",
}


def kept() -> dict[str, str]:
    """Keys and secrets of this installation: made once, then read."""
    path = TOKEN_SERVICE / "made.env"
    if path.exists():
        return dict(line.split("=", 1) for line in path.read_text().splitlines())
    made = {
        "ENCRYPTION_KEYS": _key("e1"),
        "INDEX_KEYS": _key("i1"),
        "TOKEN_SERVICE_KEY": secrets.token_hex(24),
        "ZOHO_WEBHOOK_SECRET": secrets.token_hex(16),
        "ZOHO_CRM_CHANNEL_TOKEN": secrets.token_hex(16),
        "ZOHO_CRM_WEBHOOK_SECRET": secrets.token_hex(16),
    }
    _write(path, made)
    return made


def _key(key_id: str) -> str:
    return f"{key_id}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def of_the_sandbox() -> dict[str, str]:
    """What makes the sandbox their Zoho. The ids are the sandbox's defaults."""
    return {
        "ZOHO_ACCOUNTS_URL": f"{SANDBOX}/accounts",
        "ZOHO_BILLING_URL": f"{SANDBOX}/billing/v1",
        "ZOHO_BOOKS_URL": f"{SANDBOX}/books/v3",
        "ZOHO_CRM_URL": f"{SANDBOX}/crm",
        "ZOHO_DESK_URL": f"{SANDBOX}/desk/api/v1",
        "ZOHO_DESK_JWKS_URL": f"{SANDBOX}/.well-known/jwks.json",
    }


def _write(path: Path, values: dict[str, str]) -> None:
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}={value}\n" for name, value in sorted(values.items())))


def main() -> None:
    if "--only-demo-from-now-on" in sys.argv:
        DEMO_ONLY.touch()
        return
    given = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("ZOHO_") or name in {"ENCRYPTION_KEYS", "INDEX_KEYS", "LOG_LEVEL"}
    }
    real = bool(given.get("ZOHO_CLIENT_ID")) and not DEMO_ONLY.exists()
    values = kept() | STACK | (given if real else of_the_sandbox())
    _write(TOKEN_SERVICE / "relay.env", values)
    _write(ALL / "relay.env", {k: v for k, v in values.items() if k not in ONLY_FOR_TOKEN_SERVICE})
    sys.stdout.write(f"settings written for {'the Zoho of .env' if real else 'the sandbox'}\n")


if __name__ == "__main__":
    main()
