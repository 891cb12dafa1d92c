"""Test which settings `docker compose up` gives to each container, and which it withholds."""

import importlib
import json

import pytest

from deploy.compose.settings import SERVICES
from services.zoho_sandbox.settings import SandboxSettings
from shared.environment import ENV_FILE_VARIABLE
from tests.containers.conftest import Installation

REAL = {
    "ZOHO_CLIENT_ID": "1000.CANARYCLIENT",
    "ZOHO_CLIENT_SECRET": "canary-client-secret",
    "ZOHO_REFRESH_TOKEN": "1000.canary.refresh",
    "ZOHO_ORGANIZATION_ID": "771100",
    "ZOHO_DESK_ORG_ID": "771101",
    "ZOHO_DESK_DEPARTMENT_ID": "771102",
    "ZOHO_WEBHOOK_SECRET": "canary-webhook-secret",
    "ZOHO_CRM_WEBHOOK_SECRET": "canary-crm-secret",
    "ZOHO_DATA_CENTER": "eu",
}


@pytest.mark.parametrize("env_file", [None, REAL], ids=["sandbox", "real"])
@pytest.mark.parametrize("service", SERVICES)
def test_every_service_finds_all_that_it_needs(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    service: str,
    env_file: dict[str, str] | None,
) -> None:
    if env_file:
        installation.has_env_file(env_file)
    assert installation.start() == 0

    monkeypatch.setenv(ENV_FILE_VARIABLE, str(installation.file_of(service)))

    module = importlib.import_module(f"services.{service.replace('-', '_')}.settings")
    assert module.Settings.load()


@pytest.mark.parametrize(
    ("name", "audience"),
    [
        ("ZOHO_CLIENT_SECRET", {"token-service"}),
        ("ZOHO_REFRESH_TOKEN", {"token-service"}),
        ("ZOHO_WEBHOOK_SECRET", {"webhook-gateway"}),
        ("ZOHO_CRM_WEBHOOK_SECRET", {"webhook-gateway"}),
    ],
)
def test_a_secret_of_zoho_reaches_only_the_service_that_uses_it(
    installation: Installation, name: str, audience: set[str]
) -> None:
    installation.has_env_file(REAL)
    installation.start()

    assert installation.holders_of(REAL[name]) == audience


def test_the_sandbox_accepts_what_the_services_were_given(installation: Installation) -> None:
    installation.start()
    tokens, gateway = (installation.seen_by(name) for name in ("token-service", "webhook-gateway"))

    sandbox = installation.seen_by_sandbox()

    assert sandbox["SANDBOX_CLIENT_SECRET"] == tokens["ZOHO_CLIENT_SECRET"]
    assert sandbox["SANDBOX_REFRESH_TOKEN"] == tokens["ZOHO_REFRESH_TOKEN"]
    billing = installation.seen_by("billing-worker")
    assert sandbox["SANDBOX_ORGANIZATION_ID"] == billing["ZOHO_ORGANIZATION_ID"]
    targets = json.loads(sandbox["SANDBOX_TARGETS"])
    assert targets["billing"]["secret"] == gateway["ZOHO_WEBHOOK_SECRET"]
    assert targets["desk"]["webhook_id"] == gateway["ZOHO_DESK_WEBHOOK_ID"]


def test_the_sandbox_understands_its_settings(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.start()
    for name, value in installation.seen_by_sandbox().items():
        monkeypatch.setenv(name, value)

    settings = SandboxSettings()

    assert settings.host == "0.0.0.0"  # noqa: S104
    assert settings.targets["crm"]["url"] == "http://webhook-gateway:8080/webhooks/crm"


def test_the_demo_knows_nothing_of_an_env_file(installation: Installation) -> None:
    installation.has_env_file(REAL)

    assert installation.start(demo=True) == 0

    assert not any(installation.holders_of(value) for value in REAL.values() if value != "eu")
    assert installation.seen_by("billing-worker")["ZOHO_BILLING_URL"] == (
        "http://zoho-sandbox:8090/billing/v1"
    )


def test_an_env_file_that_names_no_client_changes_nothing(installation: Installation) -> None:
    installation.has_env_file({"ZOHO_CLIENT_ID": "", "ZOHO_ORGANIZATION_ID": "771100"})

    assert installation.start() == 0

    assert not installation.holders_of("771100")


def test_an_env_file_has_no_say_in_what_the_containers_are_to_each_other(
    installation: Installation,
) -> None:
    own = {
        "AMQP_URL": "amqps://canary",
        "BILLING_WORKER_DATABASE_URL": "postgresql://canary",
        "BILLING_WORKER_METRICS_PORT": "1",
        "ZOHO_RELAY_ENV_FILE": "canary",
    }
    installation.has_env_file({**REAL, **own, "LOG_LEVEL": "DEBUG"})
    installation.start()

    seen = installation.seen_by("billing-worker")

    assert "@rabbitmq:5672" in (seen["AMQP_URL"] or "")
    assert not seen.keys() & (own.keys() - {"AMQP_URL"})
    assert seen["LOG_LEVEL"] == "DEBUG"


@pytest.mark.parametrize("value", ["a b#c", 'say "hi"', "a\\b", "${HOME}", "$x", "{}${", "é=="])
def test_a_value_arrives_as_it_was_written(installation: Installation, value: str) -> None:
    """Written by hand into .env in the way python-dotenv reads it."""
    quoted = value.replace("\\", "\\\\").replace("${HOME}", "${:-$}{HOME}")
    installation.has_env_file({**REAL, "ZOHO_CLIENT_SECRET": quoted})
    installation.start()

    assert installation.seen_by("token-service")["ZOHO_CLIENT_SECRET"] == value


def test_keys_and_passwords_outlive_a_start(installation: Installation) -> None:
    installation.start()
    first = installation.seen_by("billing-worker")
    password = (installation.root / "settings" / "postgres" / "password").read_text()

    installation.start()

    assert installation.seen_by("billing-worker") == first
    assert f":{password}@postgres" in (first["DATABASE_URL"] or "")


def test_the_keys_of_an_env_file_win_over_made_ones(installation: Installation) -> None:
    ring = "k7:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    installation.has_env_file({**REAL, "ENCRYPTION_KEYS": ring})
    installation.start()

    assert installation.seen_by("crm-worker")["ENCRYPTION_KEYS"] == ring


@pytest.mark.parametrize("demo_first", [True, False])
def test_data_of_one_zoho_is_not_used_with_another(
    installation: Installation, capsys: pytest.CaptureFixture[str], *, demo_first: bool
) -> None:
    installation.has_env_file(REAL)
    installation.start(demo=demo_first)
    before = installation.seen_by("token-service")

    assert installation.start(demo=not demo_first) == 1

    assert installation.seen_by("token-service") == before
    assert "docker compose down -v" in capsys.readouterr().err
    assert installation.start(demo=demo_first) == 0


def test_addresses_let_a_client_on_this_machine_in(
    installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    from deploy.compose.settings import main

    installation.start()
    capsys.readouterr()

    main(["--addresses"], installation.root)

    told = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    inside = installation.seen_by("crm-worker")["AMQP_URL"] or ""
    assert told["AMQP_URL"] == inside.replace("@rabbitmq:", "@127.0.0.1:")
