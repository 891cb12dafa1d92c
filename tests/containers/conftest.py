"""Write the settings of the containers into a folder instead of their volumes."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from dotenv import dotenv_values

from deploy.compose.settings import main

AUDIENCES = (
    *("webhook-gateway", "billing-worker", "crm-worker", "desk-worker", "token-service"),
    *("zoho-sandbox", "postgres", "rabbitmq"),
)


class Installation:
    """One set of volumes, and what lies in the checkout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in AUDIENCES:
            (root / "settings" / name).mkdir(parents=True)
        (root / "kept").mkdir()
        (root / "checkout").mkdir()

    def has_env_file(self, values: Mapping[str, str]) -> None:
        lines = (f"{name}='{value}'\n" for name, value in values.items())
        (self.root / "checkout" / ".env").write_text("".join(lines))

    def start(self, *, demo: bool = False) -> int:
        """Run what `docker compose [--profile demo] up` runs first. Returns the exit code."""
        if demo:
            main(["--demo"], self.root)
        return main([], self.root)

    def file_of(self, service: str) -> Path:
        return self.root / "settings" / service / "relay.env"

    def seen_by(self, service: str) -> dict[str, str | None]:
        return dotenv_values(self.file_of(service))

    def seen_by_sandbox(self) -> dict[str, str]:
        """Its environment, after the shell has read its file."""
        file = self.root / "settings" / "zoho-sandbox" / "sandbox.env"
        command = ["/bin/sh", "-c", f"set -a && . '{file}' && exec env -0"]
        found = subprocess.run(command, env={}, capture_output=True, check=True, text=True).stdout
        return dict(entry.split("=", 1) for entry in found.split("\0") if entry)

    def holders_of(self, value: str) -> set[str]:
        """The audiences that can read a value."""
        return {
            file.parent.name
            for file in (self.root / "settings").glob("*/*")
            if value in file.read_text()
        }


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    # Of the machine's environment nothing is in a container.
    for name in ("ZOHO_CLIENT_ID", "ZOHO_BILLING_URL", "AMQP_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return Installation(tmp_path)
