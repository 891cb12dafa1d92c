"""Write the settings that the containers read, before any of them starts.

    python -m deploy.compose.settings                writes them (the service `settings`)
    python -m deploy.compose.settings --demo         only says that .env is not for the next start
    python -m deploy.compose.settings --addresses    prints where everything is, for this machine

Each audience has a volume of its own, mounted here below /settings. What was made once, and must
stay as long as the data that it opens, is in /kept, which nothing else mounts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local import credentials, environment
from deploy.local.processes import write_private
from shared.environment import SettingsError

SERVICES = ("webhook-gateway", "billing-worker", "crm-worker", "desk-worker", "token-service")
# The stack's own. A .env has no say in them, neither under these names nor as <SERVICE>_<NAME>.
_OWN = (
    *("AMQP_URL", "DATABASE_URL", "TOKEN_SERVICE_URL", "ZOHO_RELAY_ENV_FILE"),
    *("HTTP_HOST", "HTTP_PORT", "METRICS_PORT"),
)
_SANDBOX, _REAL = "the sandbox", "the Zoho of .env"
_SANDBOX_URL = "http://zoho-sandbox:8090"
_GATEWAY_URL = "http://webhook-gateway:8080"


class OtherZoho(Exception):
    """The volumes hold data of another Zoho than the one that this start is for."""


def write_settings(root: Path) -> str:
    """Write one file per container. Returns whose Zoho the services will use.

    That is the one of .env, if that names a client and the profile `demo` is not on. Otherwise the
    sandbox.

    Raises:
        OtherZoho: nothing is written.
        ForeignZoho: a URL for the sandbox is not the sandbox's. Nothing is written.
    """
    env_file_settings = _env_file_settings(root)
    zoho = _REAL if env_file_settings else _SANDBOX
    _stay_with(zoho, root / "kept" / "zoho")
    made = credentials.load_or_make(root / "kept" / "secrets.json")
    for_sandbox = {
        **_generated(made),
        **environment.zoho_settings(_SANDBOX_URL),
        "GATEWAY_URL": _GATEWAY_URL,
    }
    settings = (
        _without_zoho(_generated(made)) | env_file_settings if env_file_settings else for_sandbox
    ) | _stack(made)
    if not env_file_settings:
        environment.refuse_foreign_zoho(settings, _SANDBOX_URL)
    places = root / "settings"
    for service in SERVICES:
        own = environment.of_service(service, settings)
        _publish(places / service / "relay.env", _env_file(own))
    # Beside a real Zoho the sandbox idles, with credentials that open nothing.
    _publish(places / "zoho-sandbox" / "sandbox.env", _env_file(_of_sandbox(for_sandbox)))
    _publish(places / "postgres" / "password", made["database_password"])
    _publish(
        places / "rabbitmq" / "rabbitmq.conf",
        f"default_user = relay\ndefault_pass = {made['amqp_password']}\n",
    )
    return zoho


def leave_env_file_alone(root: Path) -> None:
    """Say that the next start is the demo's."""
    (root / "kept" / "demo").touch()


def addresses(root: Path) -> str:
    """Return what a client on this machine needs, by the names that `make up` uses in stack.env."""
    made = credentials.load_or_make(root / "kept" / "secrets.json")
    user = f"relay:{made['amqp_password']}@127.0.0.1"
    values = {
        "AMQP_URL": f"amqp://{user}:5672/",
        "RABBITMQ_API_URL": f"http://{user}:15672",
        "GATEWAY_URL": "http://127.0.0.1:8080",
        "SANDBOX_URL": "http://127.0.0.1:8090",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _env_file_settings(root: Path) -> dict[str, str]:
    """Return what .env sets. Nothing when it names no client of Zoho's, or is not to be read."""
    demo = root / "kept" / "demo"
    if demo.exists():
        demo.unlink()  # for this start only
        return {}
    env_file = root / "checkout" / ".env"
    values = environment.read_env_file(env_file) if env_file.is_file() else {}
    if "ZOHO_CLIENT_ID" not in values:
        return {}
    return {name: value for name, value in values.items() if not name.endswith(_OWN)}


def _stay_with(zoho: str, kept: Path) -> None:
    # The ids of one Zoho mean nothing in another, or somebody else.
    before = kept.read_text() if kept.exists() else zoho
    if before != zoho:
        raise OtherZoho(
            f"these volumes hold data of {before}, and this start is for {zoho}. Either delete them"
            " (docker compose down -v), or take others (docker compose -p <another name> …)"
        )
    kept.write_text(zoho)


def _generated(made: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in made.items() if name.isupper()}


def _without_zoho(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in settings.items() if not name.startswith("ZOHO_")}


def _stack(made: Mapping[str, str]) -> dict[str, str]:
    return {
        "AMQP_URL": f"amqp://relay:{made['amqp_password']}@rabbitmq:5672/",
        "DATABASE_URL": f"postgresql://relay:{made['database_password']}@postgres:5432/relay",
        "TOKEN_SERVICE_URL": "http://token-service:8081",
    }


def _of_sandbox(settings: Mapping[str, str]) -> dict[str, str]:
    targets = environment.webhook_targets(_GATEWAY_URL, settings)
    return {
        **environment.sandbox_settings(settings, 8090, Path("/state/state.json")),
        "SANDBOX_HOST": "0.0.0.0",  # noqa: S104 - in a container. Published on loopback
        "SANDBOX_TARGETS": json.dumps(targets),
    }


def _env_file(values: Mapping[str, str]) -> str:
    """The lines, as python-dotenv reads them, and a shell where no value holds a quote."""
    return "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(values.items()))


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    # In quotes too, python-dotenv puts in variables. The default of an empty name is the sign.
    return "'" + escaped.replace("${", "${:-$}{") + "'"


def _publish(file: Path, content: str) -> None:
    """Readable by all, for all who see the volume are meant to, and each has a user of its own."""
    write_private(file, content.encode())
    file.chmod(0o444)


def main(arguments: list[str], root: Path = Path("/")) -> int:
    match arguments:
        case ["--demo"]:
            leave_env_file_alone(root)
        case ["--addresses"]:
            sys.stdout.write(addresses(root))
        case []:
            try:
                sys.stdout.write(f"settings written, for {write_settings(root)}\n")
            except (OtherZoho, environment.ForeignZoho) as error:
                print(f"zoho-relay: {error}", file=sys.stderr)
                return 1
            except SettingsError as error:
                print(f"zoho-relay: {error}", file=sys.stderr)
                return 2
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
