"""Keys, passwords and secrets of a local stack: made once, kept in one file of mode 0600."""

import json
import secrets
from base64 import b64encode
from pathlib import Path

from deploy.local.processes import write_private


def ring_key(name: str) -> str:
    """One key of a ring: `<name>:<base64 of 32 random bytes>`."""
    return f"{name}:{b64encode(secrets.token_bytes(32)).decode()}"


def load_or_make(file: Path) -> dict[str, str]:
    """The stack's secrets by name. A name that a newer version needs is added to an older file."""
    kept: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    complete = _fresh() | kept
    if complete != kept:
        write_private(file, json.dumps(complete, indent=1).encode())
    return complete


def _fresh() -> dict[str, str]:
    return {
        "postgres_password": secrets.token_urlsafe(24),
        "database_password": secrets.token_urlsafe(24),
        "amqp_password": secrets.token_urlsafe(24),
        "ENCRYPTION_KEYS": ring_key("local1"),
        "INDEX_KEYS": ring_key("local1"),
        "TOKEN_SERVICE_KEY": secrets.token_urlsafe(32),
        "ZOHO_WEBHOOK_SECRET": secrets.token_urlsafe(32),
        "ZOHO_CRM_CHANNEL_TOKEN": secrets.token_urlsafe(32),
        "ZOHO_CRM_WEBHOOK_SECRET": secrets.token_urlsafe(32),
        # Made up, in the shape of Zoho's. The sandbox is set to accept them.
        "ZOHO_CLIENT_ID": f"1000.{secrets.token_hex(15).upper()}",
        "ZOHO_CLIENT_SECRET": secrets.token_hex(21),
        "ZOHO_REFRESH_TOKEN": f"1000.{secrets.token_hex(16)}.{secrets.token_hex(16)}",
    }


def main() -> None:
    """Print fresh key rings, ready for `.env`."""
    print(f"ENCRYPTION_KEYS={ring_key('k1')}")
    print(f"INDEX_KEYS={ring_key('i1')}")


if __name__ == "__main__":
    main()
