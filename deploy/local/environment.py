"""Build the environment of a stack's processes, free of everything else of the machine's.

Processes inherit only what a program needs to run. A `ZOHO_…` that happens to be exported in the
caller's shell reaches none of them, unless `make up` passes it on as a setting.
"""

import os
import re
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from dotenv import dotenv_values

from shared.environment import ENV_FILE_ENCODING, ENV_FILE_VARIABLE, check_env_file

# Prefixes of the sandbox by the setting that holds them.
SANDBOX_PATHS = {
    "ZOHO_ACCOUNTS_URL": "/accounts",
    "ZOHO_BILLING_URL": "/billing/v1",
    "ZOHO_BOOKS_URL": "/books/v3",
    "ZOHO_CRM_URL": "/crm",
    "ZOHO_DESK_URL": "/desk/api/v1",
    "ZOHO_DESK_JWKS_URL": "/desk/.well-known/jwks.json",
}
# The one organization of the sandbox. Both sides are given it, so neither relies on a default.
ORGANIZATION_ID, DESK_ORG_ID, DEPARTMENT_ID = "10229182", "62983471", "204600000000006907"
DESK_WEBHOOK_ID = "204600000000510001"
_SHARED_WITH_SANDBOX = (
    "ZOHO_BILLING_USER_FIELD",
    "ZOHO_BOOKS_INVOICE_FIELD",
    "ZOHO_CRM_USER_FIELD",
    "ZOHO_CRM_TIER_FIELD",
    "ZOHO_DESK_ESCALATION_FIELD",
    "ZOHO_DESK_WEBHOOK_ID",
)


class ForeignZoho(Exception):
    """A stack meant for the sandbox would talk to something else."""


def base() -> dict[str, str]:
    kept = ("PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV")
    values = {name: os.environ[name] for name in kept if name in os.environ}
    return {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "HTTP_HOST": "127.0.0.1", **values}


def zoho_settings(sandbox_url: str) -> dict[str, str]:
    """Every setting that concerns Zoho, pointing at the sandbox."""
    return {
        **{name: sandbox_url + path for name, path in SANDBOX_PATHS.items()},
        "ZOHO_DATA_CENTER": "us",
        "ZOHO_ORGANIZATION_ID": ORGANIZATION_ID,
        "ZOHO_DESK_ORG_ID": DESK_ORG_ID,
        "ZOHO_DESK_DEPARTMENT_ID": DEPARTMENT_ID,
        "ZOHO_DESK_WEBHOOK_ID": DESK_WEBHOOK_ID,
        "ZOHO_BILLING_USER_FIELD": "cf_app_user_id",
        "ZOHO_BOOKS_INVOICE_FIELD": "cf_app_invoice_id",
        "ZOHO_CRM_USER_FIELD": "App_User_Id",
        "ZOHO_CRM_TIER_FIELD": "App_Tier",
        "ZOHO_DESK_ESCALATION_FIELD": "cf_app_escalation_id",
        "ZOHO_FREE_PLAN_CODES": "free",
    }


def sandbox_settings(settings: Mapping[str, str], port: int, state_file: Path) -> dict[str, str]:
    """The sandbox accepts exactly the credentials and ids that the services are given."""
    return {
        "SANDBOX_PORT": str(port),
        "SANDBOX_STATE_FILE": str(state_file),
        "SANDBOX_CLIENT_ID": settings["ZOHO_CLIENT_ID"],
        "SANDBOX_CLIENT_SECRET": settings["ZOHO_CLIENT_SECRET"],
        "SANDBOX_REFRESH_TOKEN": settings["ZOHO_REFRESH_TOKEN"],
        "SANDBOX_ORGANIZATION_ID": settings["ZOHO_ORGANIZATION_ID"],
        "SANDBOX_DESK_ORG_ID": settings["ZOHO_DESK_ORG_ID"],
        "SANDBOX_DESK_DEPARTMENT_ID": settings["ZOHO_DESK_DEPARTMENT_ID"],
        **{name: value for name, value in settings.items() if name in _SHARED_WITH_SANDBOX},
        **({"SANDBOX_RECORD": record} if (record := os.environ.get("SANDBOX_RECORD")) else {}),
        "ZOHO_RELAY_ENV_FILE": "",
    }


def webhook_targets(gateway_url: str, settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The body of `PUT /_sandbox/targets`."""
    hooks = f"{gateway_url}/webhooks"
    secret = settings["ZOHO_WEBHOOK_SECRET"].split(",")[0]
    return {
        "billing": {"url": f"{hooks}/billing", "secret": secret},
        "books": {"url": f"{hooks}/books", "secret": secret},
        "crm": {
            "url": f"{hooks}/crm",
            "token": settings["ZOHO_CRM_CHANNEL_TOKEN"].split(",")[0],
            "workflow_secret": settings["ZOHO_CRM_WEBHOOK_SECRET"].split(",")[0],
        },
        "desk": {"url": f"{hooks}/desk", "webhook_id": settings["ZOHO_DESK_WEBHOOK_ID"]},
    }


def of_service(service: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings that the service reads, and no others. All of them for a service of a test."""
    own = service.upper().replace("-", "_") + "_"
    names = names_read_by(service)
    return {
        name: value
        for name, value in settings.items()
        if names is None or name == ENV_FILE_VARIABLE or names & {name.upper(), _without(own, name)}
    }


def _without(prefix: str, name: str) -> str:
    return name.upper().removeprefix(prefix)


def names_read_by(service: str) -> set[str] | None:
    """The variables that are fields of the service's settings. None: it has no such module."""
    module = f"services.{service.replace('-', '_')}"
    if find_spec(module) is None:
        return None
    return {field.upper() for field in import_module(f"{module}.settings").Settings.model_fields}


def refuse_foreign_zoho(settings: Mapping[str, str], sandbox_url: str) -> None:
    """Raise ForeignZoho unless every URL of Zoho's is the sandbox's.

    A missing one counts as foreign too: without it a service takes the real data centre's. What the
    caller's shell exports is refused as well, although no process would get it: somebody who set it
    means something else than the sandbox.
    """
    missing = sorted(SANDBOX_PATHS.keys() - settings.keys())
    if missing:
        raise ForeignZoho(f"{missing[0]} is not set, so it would be Zoho's own")
    exported = {name: value for name, value in os.environ.items() if value}
    for origin in (settings, exported):
        for name, value in sorted(origin.items()):
            if re.fullmatch(r"(\w+_)?ZOHO_\w*URL", name) and not _within(value, sandbox_url):
                raise ForeignZoho(
                    f"{name} is not the sandbox's: this runs against the sandbox only. Unset it"
                    " (or use `make up` with a .env for the real Zoho)."
                )


def read_env_file(file: Path) -> dict[str, str]:
    """Read an env file as the services' settings read it. Empty values are left out.

    Raises:
        SettingsError: it is not UTF-8. The line is named.
    """
    check_env_file(file)
    values = dotenv_values(file, encoding=ENV_FILE_ENCODING)
    return {name: value for name, value in values.items() if value}


def _within(url: str, sandbox_url: str) -> bool:
    return url == sandbox_url or url.startswith(f"{sandbox_url}/")
