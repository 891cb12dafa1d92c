"""Test `zoho-relay doctor` and `zoho-relay oauth`, with a token-service and the sandbox."""

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.operator.doctor.findings import Findings
from services.operator.doctor.servers import check_durability
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.settings import ALL_SCOPES
from tests.operator.at_zoho import House, house
from tests.operator.conftest import KEY, Desk

ROOT = Path(__file__).parents[2]
RING = f"e1:{KEY}"
ANOTHER = "b3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3RoZXIgb3Q="


@pytest.fixture
async def home(desk: Desk, database_url: str) -> AsyncIterator[House]:
    async with house(desk, database_url, RING) as made:
        yield made


def without(*scopes: str) -> str:
    return ",".join(scope for scope in ALL_SCOPES.split(",") if not scope.startswith(scopes))


# --- all is well ---------------------------------------------------------------------------------


async def test_a_set_up_that_is_whole_passes(home: House) -> None:
    diagnosis = await home.doctor()
    assert diagnosis.wrong == set()
    assert diagnosis.code == 0
    for check in ("Billing", "Books", "CRM", "Desk", "Desk's department"):
        assert diagnosis.state("organizations", check) == "ok"
    assert diagnosis.state("scopes", "ZOHO_SCOPES") == "ok"
    assert diagnosis.state("custom fields", "ZOHO_CRM_USER_FIELD") == "ok"
    assert "calls of this minute" in diagnosis.line("quotas", "Billing")["found"]


async def test_an_event_that_was_sent_to_no_webhook_is_wrong(home: House) -> None:
    announce(home.world, "subscription_created", {"subscription": {"subscription_id": "1"}})

    line = (await home.doctor()).line("webhooks", "Billing")

    assert (line["state"], line["found"]) == ("wrong", "its newest event was sent to no webhook")


async def test_an_organization_without_books_is_named(home: House) -> None:
    diagnosis = await home.doctor(ZOHO_HAS_BOOKS="false", ZOHO_BOOKS_INVOICE_FIELD="cf_gone")
    assert diagnosis.state("organizations", "Books") == "ok"
    assert "Billing alone" in diagnosis.line("organizations", "Books")["found"]
    assert diagnosis.wrong == set()
    assert not [one for one in home.world.requests.find() if one.product == "books"]


async def test_a_time_zone_that_nobody_knows_is_named(home: House) -> None:
    home.world.clock.time_zone = "Mars/Olympus"
    diagnosis = await home.doctor()
    assert ("organizations", "Books' time zone") in diagnosis.wrong


async def test_a_field_that_billing_takes_in_another_form_is_named(
    home: House, database_url: str
) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        "CREATE SCHEMA IF NOT EXISTS billing;"
        "CREATE TABLE IF NOT EXISTS billing.organizations (org text, customer_field_form text);"
        "INSERT INTO billing.organizations (org, customer_field_form) VALUES ('default', 'label')"
    )
    await connection.close()
    diagnosis = await home.doctor(ZOHO_BILLING_USER_FIELD="cf_app_user_id")
    found = diagnosis.line("custom fields", "Billing's customers")["found"]
    assert "by its label" in found


async def test_what_no_call_shows_is_named_with_where_to_look(home: House) -> None:
    diagnosis = await home.doctor()
    area = "to switch off at Zoho"
    for check in ("customer portal", "payment links", "Zoho's own mails"):
        assert diagnosis.state(area, check) == "not checked"
        assert diagnosis.line(area, check)["todo"]


async def test_it_reads_only_and_shows_neither_secrets_nor_ids_of_zoho(home: House) -> None:
    output = await home.ask("doctor")
    assert {one.method for one in home.world.requests.find() if one.product != "accounts"} == {
        "GET"
    }
    settings = home.world.settings
    hidden = [
        settings.organization_id,
        settings.desk_org_id,
        settings.desk_department_id,
        settings.client_id,
        settings.client_secret.get_secret_value(),
        settings.refresh_token.get_secret_value(),
        home.environment["TOKEN_SERVICE_KEY"],
        *(str(row["access_token"]) for row in home.world.table("accounts", "tokens")),
    ]
    assert "0 wrong" in output.out
    assert not [one for one in hidden if one in output.out + output.err]


async def test_a_standby_that_commits_do_not_wait_for_is_named(
    home: House, database_url: str, postgres_url: str
) -> None:
    assert (await home.doctor()).state("PostgreSQL", "standby") == "ok"
    admin = await asyncpg.connect(postgres_url)
    name = urlsplit(database_url).path[1:]
    # As a standby has one, whether it is connected or not.
    await admin.execute("SELECT pg_create_physical_replication_slot('a_standby')")
    try:
        unnamed = (await home.doctor()).line("PostgreSQL", "standby")
        await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = 'local'")
        local = (await home.doctor()).line("PostgreSQL", "standby")
    finally:
        await admin.execute("SELECT pg_drop_replication_slot('a_standby')")
        await admin.close()

    assert (unnamed["state"], local["state"]) == ("wrong", "wrong")
    assert "synchronous_standby_names is empty" in unnamed["found"]
    assert "synchronous_commit is local" in local["found"]
    assert "remote_write" in local["todo"]


class Primary:
    """A primary with a standby. Such settings cannot be tried on a server that others use."""

    def __init__(self, commits: str) -> None:
        self.row = {"has_one": True, "commits": commits, "is_named": True}

    async def fetch(self, _query: str) -> list[dict[str, object]]:
        return [self.row]


@pytest.mark.parametrize(
    ("commits", "state"),
    [
        ("off", "wrong"),
        ("local", "wrong"),
        ("remote_write", "ok"),
        ("on", "ok"),
        ("remote_apply", "ok"),
    ],
)
async def test_a_commit_has_to_wait_until_the_standby_has_it(commits: str, state: str) -> None:
    findings = Findings()

    await check_durability(findings, cast("asyncpg.Pool", Primary(commits)))

    assert [finding.state for finding in findings.all] == [state]


async def test_a_database_that_takes_no_writes_is_named(
    home: House, database_url: str, postgres_url: str
) -> None:
    assert (await home.doctor()).state("PostgreSQL", "writes") == "ok"
    admin = await asyncpg.connect(postgres_url)
    name = urlsplit(database_url).path[1:]
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await admin.close()

    diagnosis = await home.doctor()

    assert "ReadOnlySQLTransactionError" in diagnosis.line("PostgreSQL", "writes")["found"]
    assert diagnosis.code == 1


# --- credentials ---------------------------------------------------------------------------------


async def test_a_revoked_refresh_token_is_named_even_while_the_old_access_token_looks_good(
    home: House,
) -> None:
    assert (await home.doctor()).code == 0
    home.revoke()

    diagnosis = await home.doctor()

    assert diagnosis.code == 1
    assert diagnosis.wrong == {("credentials", "access token")}
    assert "refresh token no longer works" in diagnosis.line("credentials", "access token")["found"]
    assert diagnosis.state("organizations", "Billing") == "not checked"


@pytest.mark.parametrize(
    ("kind", "output"),
    [("html", "wrong data centre"), ("minute_limit", "asks us to wait")],
)
async def test_each_trouble_with_credentials_has_a_finding_of_its_own(
    home: House, kind: str, output: str
) -> None:
    home.world.faults.add({"product": "accounts", "kind": kind})
    line = (await home.doctor()).line("credentials", "access token")
    assert line["state"] == "wrong"
    assert output in line["found"]


async def test_a_wrong_client_has_a_finding_of_its_own(home: House) -> None:
    clients = home.world.table("accounts", "clients")
    for row in list(clients):
        clients.save({**row, "client_secret": "another one"})
    line = (await home.doctor()).line("credentials", "access token")
    assert "wrong client" in line["found"]


async def test_missing_scopes_are_named_and_only_what_needs_them_is_wrong(home: House) -> None:
    home.scopes(without("Desk."))
    diagnosis = await home.doctor()
    assert "Desk.tickets.CREATE" in diagnosis.line("scopes", "ZOHO_SCOPES")["found"]
    assert diagnosis.state("organizations", "Billing") == "ok"
    assert "scope is missing" in diagnosis.line("organizations", "Desk")["found"]


async def test_a_wrong_key_of_token_service_is_named(home: House) -> None:
    diagnosis = await home.doctor(TOKEN_SERVICE_KEY="not-the-key-that-it-has")
    assert ("token-service", "replica 1") in diagnosis.wrong


# --- what is set up ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found_by",
    [
        {
            ("ZOHO_ORGANIZATION_ID", "1"): ("organizations", "Billing"),
            ("ZOHO_BOOKS_ORGANIZATION_ID", "1"): ("organizations", "Books"),
            ("ZOHO_DESK_ORG_ID", "1"): ("organizations", "Desk"),
            ("ENCRYPTION_KEYS", f"e2:{ANOTHER}"): ("key rings", "ENCRYPTION_KEYS"),
        },
        {
            ("ZOHO_DESK_DEPARTMENT_ID", "1"): ("organizations", "Desk's department"),
            ("ZOHO_FREE_PLAN_CODES", "fre"): ("organizations", "ZOHO_FREE_PLAN_CODES"),
            ("ZOHO_BOOKS_PLAN", "free"): ("organizations", "ZOHO_BOOKS_PLAN"),
            ("ZOHO_CRM_EDITION", "free"): ("organizations", "ZOHO_CRM_EDITION"),
            ("ZOHO_CRM_USER_FIELD", "No_Such"): ("custom fields", "ZOHO_CRM_USER_FIELD"),
            ("ZOHO_CRM_TIER_FIELD", "Nor_This"): ("custom fields", "ZOHO_CRM_TIER_FIELD"),
            ("ZOHO_DESK_ESCALATION_FIELD", "cf_no"): (
                "custom fields",
                "ZOHO_DESK_ESCALATION_FIELD",
            ),
            ("ZOHO_DESK_WEBHOOK_ID", "1"): ("webhooks", "Desk"),
        },
    ],
    ids=["whose", "what"],
)
async def test_what_is_set_wrongly_is_found(
    home: House, found_by: dict[tuple[str, str], tuple[str, str]]
) -> None:
    diagnosis = await home.doctor(**dict(found_by.keys()))
    assert diagnosis.code == 1
    for line in found_by.values():
        assert line in diagnosis.wrong
        assert diagnosis.line(*line)["todo"]


@pytest.mark.parametrize("plan", ["premium", "ultimate", ""], ids=["same", "same limits", "none"])
async def test_a_plan_of_books_that_means_the_same_limits_is_no_finding(
    home: House, plan: str
) -> None:
    diagnosis = await home.doctor(ZOHO_BOOKS_PLAN=plan)
    assert diagnosis.wrong == set()


async def test_an_organization_that_is_not_the_users_is_not_taken_for_a_missing_scope(
    home: House,
) -> None:
    diagnosis = await home.doctor(ZOHO_ORGANIZATION_ID="1")
    assert "organization" in diagnosis.line("organizations", "Billing")["found"]


async def test_a_variable_that_is_missing_is_a_line_and_the_rest_is_checked(home: House) -> None:
    diagnosis = await home.doctor(ZOHO_DESK_ORG_ID="")
    assert diagnosis.wrong == {("settings", "ZOHO_DESK_ORG_ID")}
    assert diagnosis.state("organizations", "Billing") == "ok"
    assert diagnosis.state("organizations", "Desk") == "not checked"


async def test_a_broker_and_a_database_that_are_away_are_lines_too(home: House) -> None:
    diagnosis = await home.doctor(
        AMQP_URL="amqp://guest:guest@127.0.0.1:1/", DATABASE_URL="postgresql://x@127.0.0.1:1/x"
    )
    assert diagnosis.wrong == {("RabbitMQ", "connection"), ("PostgreSQL", "connection")}


async def test_an_outage_of_one_product_does_not_hide_the_others(home: House) -> None:
    home.world.faults.add({"product": "crm", "kind": "status:500"})
    diagnosis = await home.doctor()
    assert diagnosis.state("organizations", "CRM") == "wrong"
    assert diagnosis.state("organizations", "Desk") == "ok"


# --- oauth ---------------------------------------------------------------------------------------


@pytest.fixture
def code_file(tmp_path: Path) -> Path:
    file = tmp_path / "code"
    file.write_text("1000.the.code\n")
    return file


async def test_an_exchanged_code_replaces_a_dead_refresh_token(
    home: House, code_file: Path
) -> None:
    home.revoke()
    assert (await home.doctor()).code == 1
    home.grant("1000.the.code")

    output = await home.ask("oauth", "exchange", "--code-file", str(code_file))

    assert output.code == 0
    assert "stored" in output.out
    assert "1000." not in output.out + output.err
    assert (await home.doctor()).code == 0


async def test_an_exchange_names_the_scopes_that_are_missing(home: House, code_file: Path) -> None:
    home.grant("1000.the.code", scope=without("Desk.tickets", "ZohoBooks"))
    output = await home.ask("oauth", "exchange", "--code-file", str(code_file))
    assert output.code == 1
    assert "Desk.tickets.CREATE" in output.err
    assert "ZohoBooks.invoices.READ" in output.err
    assert "ZohoSubscriptions" not in output.err


async def test_scopes_of_the_environment_are_what_is_compared(home: House, code_file: Path) -> None:
    home.grant("1000.the.code", scope="ZohoBooks.fullaccess.all")
    output = await home.ask(
        *("oauth", "exchange", "--code-file", str(code_file)),
        ZOHO_SCOPES="ZohoBooks.invoices.READ, ZohoBooks.settings.READ",
    )
    assert output.code == 0
    assert "All 2 scopes" in output.out


async def test_a_dead_code_is_reported_and_changes_nothing(home: House, code_file: Path) -> None:
    output = await home.ask("oauth", "exchange", "--code-file", str(code_file))
    assert output.code == 1
    assert "grant_code_dead" in output.err
    assert (await home.doctor()).code == 0


async def test_the_scopes_to_ask_for_are_one_line(home: House) -> None:
    output = await home.ask("oauth", "scopes")
    assert output.out.count("\n") == 1
    assert "Desk.tickets.CREATE" in output.out.split(",")


# --- it stays by itself --------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["billing_worker", "token_service", "webhook_gateway"])
def test_no_service_loads_what_only_the_operator_needs(service: str) -> None:
    script = (
        f"import sys, services.{service}.app\n"
        "print([n for n in sys.modules if n.startswith(('services.operator', 'typer', 'rich'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
