"""Test that a stack for the sandbox knows nothing of a real Zoho, whatever the machine holds."""

import json
import os
import stat
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from deploy.local.environment import SANDBOX_PATHS, ForeignZoho, base
from deploy.local.plan import SERVICES, StackPlan, StackRequest, make_plan
from deploy.local.ports import is_free
from deploy.local.stack import ROOT
from tests.local_stack.conftest import StackOf

REAL = """\
AMQP_URL=amqps://prod:canary-amqp@rabbit.example.com/
ENCRYPTION_KEYS=canary:Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2E=
ZOHO_CLIENT_ID=1000.CANARYCLIENT
ZOHO_CLIENT_SECRET=canary-secret
ZOHO_REFRESH_TOKEN=1000.canary.refresh
ZOHO_ORGANIZATION_ID=99canary99
ZOHO_BILLING_URL=https://www.zohoapis.com/billing/v1
ZOHO_CRM_VERSION=v7
"""
DESIGNED = {
    "AMQP_URL",
    "DATABASE_URL",
    "SANDBOX_URL",
    "GATEWAY_URL",
    "TOKEN_SERVICE_URLS",
    "METRICS_URLS",
    "RABBITMQ_DATA",
    "POSTGRES_DATA",
    "LOG_DIR",
}


def wish(folder: Path, **changes: object) -> StackRequest:
    folder.mkdir(exist_ok=True)
    arguments: dict[str, object] = {
        "root": ROOT,
        "folder": folder,
        "replicas": {},
        "services": SERVICES,
        "sandbox": True,
        "durable": True,
        "settings": {},
        "env_file": None,
        "amqp_url": "amqp://somewhere/",
        "database_url": "postgresql://somewhere/relay",
    }
    return StackRequest(**{**arguments, **changes})  # type: ignore[arg-type]


def plan_of(folder: Path, **changes: object) -> StackPlan:
    return make_plan(wish(folder, **changes), running=False)


def test_an_env_file_that_lies_around_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(REAL)

    plan = plan_of(tmp_path)
    billing = next(spec for spec in plan.specs if spec.name == "billing-worker.1")
    assert Path(billing.cwd, ".env").read_text() == REAL  # the service stands right beside it
    code = (
        "from shared.settings import ZohoEndpoints, Crypto, Amqp\n"
        "from shared.zoho.products.finance.settings import ZohoOrganization\n"
        "for group in (ZohoEndpoints, ZohoOrganization, Crypto, Amqp):\n"
        "    found = group.load()\n"
        "    print({k: getattr(v, 'get_secret_value', lambda: v)() for k, v in found})"
    )
    seen = subprocess.run(
        [billing.argv[0], "-c", code],
        env=billing.env,
        cwd=billing.cwd,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert plan.env["SANDBOX_URL"] in seen
    for mark in ("canary", "zohoapis", "'v7'", "example.com"):
        assert mark not in seen
        assert mark not in json.dumps([spec.env for spec in plan.specs])


@pytest.mark.parametrize("name", [*SANDBOX_PATHS, "CRM_WORKER_ZOHO_CRM_URL"])
def test_a_setting_that_points_at_a_real_zoho_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ForeignZoho, match=name):
        plan_of(tmp_path, settings={name: "https://www.zohoapis.com/billing/v1"})


def test_an_address_that_only_begins_like_the_sandbox_is_refused(tmp_path: Path) -> None:
    sandbox = plan_of(tmp_path).env["SANDBOX_URL"]

    for trick in (f"{sandbox}@www.zohoapis.com/billing/v1", f"{sandbox}0/billing/v1"):
        with pytest.raises(ForeignZoho):
            plan_of(tmp_path, settings={"ZOHO_BILLING_URL": trick})


def test_a_real_zoho_exported_by_the_shell_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOHO_DESK_URL", "https://desk.zoho.com/api/v1")

    with pytest.raises(ForeignZoho, match="ZOHO_DESK_URL"):
        plan_of(tmp_path)


def test_nothing_the_shell_exports_reaches_a_service(
    stack_of: StackOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOHO_CLIENT_SECRET", "canary-secret")
    monkeypatch.setenv("PIP_CONFIG_FILE", "canary")

    stack = stack_of()
    stack.start()
    environment = Path(f"/proc/{stack.pid('dummy')}/environ").read_bytes()

    assert b"canary" not in environment


def test_only_token_service_is_given_the_client_secret(tmp_path: Path) -> None:
    for spec in plan_of(tmp_path).specs:
        names = {"ZOHO_CLIENT_SECRET", "ZOHO_REFRESH_TOKEN"} & spec.env.keys()
        assert len(names) == (2 if spec.name == "token-service.1" else 0), spec.name


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_given_what_its_settings_read_and_nothing_else(
    tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = service.upper().replace("-", "_"), "OTHER_WORKER"
    extra = {"CANARY": "x", f"{own}_LOG_LEVEL": "DEBUG", f"{other}_LOG_LEVEL": "ERROR"}
    [spec] = [
        spec for spec in plan_of(tmp_path, settings=extra).specs if spec.name == f"{service}.1"
    ]
    settings = import_module(f"services.{service.replace('-', '_')}.settings").Settings
    read = {name.upper() for name in settings.model_fields}

    given = spec.env.keys() - base().keys() - {"PYTHONPATH", "ZOHO_RELAY_ENV_FILE", "HTTP_PORT"}
    assert given - {f"{own}_LOG_LEVEL"} <= read
    assert f"{own}_LOG_LEVEL" in given
    assert ("TOKEN_SERVICE_KEY" in given) == (service != "webhook-gateway")
    for name in [*os.environ]:
        if name not in ("PATH", "PYTHONPATH"):
            monkeypatch.delenv(name)
    for name, value in spec.env.items():
        monkeypatch.setenv(name, value)
    assert settings.load().log_level == "DEBUG"


def test_with_an_env_file_the_services_get_what_it_says_and_no_sandbox_runs(tmp_path: Path) -> None:
    env_file = tmp_path / "real.env"
    env_file.write_text(REAL + "HTTP_PORT='8080' # of the gateway\n")

    plan = plan_of(tmp_path / "stack", sandbox=False, env_file=env_file)
    specs = {spec.name: spec for spec in plan.specs}

    assert "zoho-sandbox.1" not in specs
    assert plan.settings["ZOHO_BILLING_URL"] == "https://www.zohoapis.com/billing/v1"
    assert plan.settings["ENCRYPTION_KEYS"].startswith("canary:")
    assert plan.settings["AMQP_URL"] == "amqp://somewhere/"
    assert specs["webhook-gateway.1"].env["HTTP_PORT"] == "8080"
    assert specs["token-service.1"].env["HTTP_PORT"] != "8080"


def test_stack_env_says_where_everything_is(stack_of: StackOf, tmp_path: Path) -> None:
    promised = set(plan_of(tmp_path).env)
    servers = {"RABBITMQ_DATA", "POSTGRES_DATA"}  # of a stack that runs its own
    assert promised == DESIGNED - servers

    stack = stack_of()
    stack.start()
    lines = (stack.folder / "stack.env").read_text().splitlines()

    assert {line.split("=", 1)[0] for line in lines} == DESIGNED - servers - {"SANDBOX_URL"}


def test_what_holds_secrets_is_readable_by_its_owner_only(stack_of: StackOf) -> None:
    stack = stack_of()
    stack.start()

    for name in ("secrets.json", "settings.env", "stack.env", "plan.json"):
        mode = stat.S_IMODE(os.stat(stack.folder / name).st_mode)  # noqa: PTH116
        assert mode == 0o600, name


def test_secrets_and_ports_stay_the_same_from_start_to_start(tmp_path: Path) -> None:
    first, second = plan_of(tmp_path), plan_of(tmp_path)

    assert (first.settings, first.env) == (second.settings, second.env)


def test_ports_are_none_that_the_kernel_gives_to_outgoing_connections(tmp_path: Path) -> None:
    plan_of(tmp_path)
    ports = json.loads((tmp_path / "ports.json").read_text()).values()
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert len(set(ports)) == len(ports)
    assert all(port < first and is_free(port) for port in ports)
