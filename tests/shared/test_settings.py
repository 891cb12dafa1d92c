import base64
from dataclasses import replace

import pytest

from shared.environment import Port, SettingsError, Words, for_service
from shared.messaging.handling.policy import MessagingPolicy, WaitPolicy
from shared.settings import (
    Amqp,
    ConsumerSettings,
    Crypto,
    Database,
    Observability,
    TokenServiceAccess,
)
from shared.zoho.products.finance.settings import ZohoOrganization

KEY = base64.b64encode(b"k" * 32).decode()


class Settings(
    Amqp, Database, Crypto, TokenServiceAccess, ZohoOrganization, ConsumerSettings, Observability
):
    model_config = for_service("billing-worker")
    metrics_port: Port = 9102
    zoho_free_plan_codes: Words = ()


COMPLETE = {
    "ZOHO_RELAY_ENV_FILE": "",
    "AMQP_URL": "amqp://all:pw@broker/",
    "DATABASE_URL": "postgresql://all:pw@db/relay",
    "ENCRYPTION_KEYS": f"k2:{KEY},k1:{KEY}",
    "INDEX_KEYS": f"i1:{KEY}",
    "TOKEN_SERVICE_URL": "http://tokens-1:8081/, http://tokens-2:8081",
    "TOKEN_SERVICE_KEY": "a-key-of-sixteen-characters",
    "ZOHO_ORGANIZATION_ID": "10",
}


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """Set the complete environment, in an empty folder. Call it to change variables."""
    monkeypatch.chdir(tmp_path)

    def change(**variables):
        for name, value in variables.items():
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    change(**COMPLETE)
    return change


def problems():
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    return caught.value.problems


def test_a_complete_environment_is_read(environment):
    settings = Settings.load()

    assert settings.amqp_url.get_secret_value() == "amqp://all:pw@broker/"
    assert settings.token_service_url == ("http://tokens-1:8081", "http://tokens-2:8081")
    assert settings.books_organization_id == "10"
    assert (settings.slots, settings.lease_s, settings.metrics_port) == (32, 4.0, 9102)


def test_a_variable_of_the_service_wins(environment):
    environment(BILLING_WORKER_AMQP_URL="amqp://own@broker/", CRM_WORKER_AMQP_URL="amqp://no@b/")

    assert Settings.load().amqp_url.get_secret_value() == "amqp://own@broker/"


def test_every_missing_variable_is_named_at_once(environment):
    environment(AMQP_URL=None, ZOHO_ORGANIZATION_ID="")

    assert sorted(problems()) == ["AMQP_URL: is not set", "ZOHO_ORGANIZATION_ID: is not set"]


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("AMQP_URL", "http://s3cret@broker/", "must be a URL that starts with amqp:// or amqps://"),
        ("AMQP_URL", "amqp://[s3cret", "must be a URL that starts with amqp:// or amqps://"),
        ("DATABASE_URL", "s3cret", "must be a URL that starts with postgresql:// or postgres://"),
        ("DATABASE_URL", "postgresql://u:s3cret@h1,h2:x/relay", "must be a URL that starts with"),
        ("DATABASE_URL", "postgresql:///s3cret", "must be a URL that starts with postgresql://"),
        ("DATABASE_URL", "postgresql://h/s3cret?sslmode=on", "has a sslmode that must be one of"),
        ("DATABASE_URL", "postgresql://h/s3cret?replication=true", "has the parameter replication"),
        (
            "DATABASE_URL",
            "postgresql://h/x?sslmode=verify-full&sslrootcert=/s3cret",
            "has a sslrootcert that names no file",
        ),
        ("AMQP_URL", "amqp://u:s3cret@h1,h2:x/", "must be a URL that starts with amqp://"),
        ("AMQP_URL", "amqp://u:s3cret@h1,,h2/", "must be a URL that starts with amqp://"),
        ("TOKEN_SERVICE_URL", "http://a,s3cret", "must be a URL that starts with http://"),
        ("TOKEN_SERVICE_KEY", "s3cret", "must have at least 16 characters"),
        ("ENCRYPTION_KEYS", "s3cret", "must be id:base64 of 32 bytes"),
        ("ENCRYPTION_KEYS", "k1:czNjcmV0", "must be id:base64 of 32 bytes"),
        ("ENCRYPTION_KEYS", f"k1:{KEY},k1:{KEY}", "must not name a key id twice"),
        ("INDEX_KEYS", " , ", "must hold at least one key"),
        ("SLOTS", "s3cret", "must be a whole number"),
        ("SLOTS", "0", "must be at least 1"),
        ("LEASE_S", "s3cret", "must be a number"),
        ("UNKNOWN_USER_WAIT", "-1", "must be at least 0"),
        ("CONTACT_WAIT_S", "s3cret", "must be a number"),
        ("INVOICE_WAIT_S", "-0.5", "must be at least 0"),
        ("OTHER_FACTS_WAIT_S", "inf", "must be at most 2592000"),
        ("LOOK_AGAIN_WAIT_S", "2592001", "must be at most 2592000"),
        ("TIME_WAIT_S", "86400", "must be more than 86400"),
        ("TIME_WAIT_S", "2592001", "must be at most 2592000"),
        ("RELEASE_WAIT_S", "-1", "must be at least 0"),
        ("METRICS_PORT", "70000", "must be at most 65535"),
        ("LOG_LEVEL", "s3cret", "must be one of 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_a_bad_variable_is_named_with_its_rule_and_without_its_value(
    environment, name, value, problem
):
    environment(**{name: value})

    (found,) = problems()

    assert found.startswith(f"{name}: {problem}")
    assert "s3cret" not in found


def test_each_kind_of_wait_has_an_end_of_its_own(environment):
    environment(
        UNKNOWN_USER_WAIT="1",
        CONTACT_WAIT_S="2",
        INVOICE_WAIT_S="3",
        OTHER_FACTS_WAIT_S="4",
        LOOK_AGAIN_WAIT_S="5",
        TIME_WAIT_S="90000",
        RELEASE_WAIT_S="6",
    )

    waits = MessagingPolicy.of(Settings.load()).waits

    assert waits.fact_s == {"user": 1, "contact": 2, "invoice": 3}
    assert (waits.other_facts_s, waits.look_again_s) == (4, 5)
    assert (waits.time_s, waits.release_s) == (90_000, 6)


def test_the_ends_of_waits_are_the_policys_own_unless_they_are_set(environment):
    chosen, own = MessagingPolicy.of(Settings.load()).waits, WaitPolicy()

    assert set(chosen.fact_s.values()) == {own.other_facts_s}
    assert replace(chosen, fact_s={}) == own


def test_words_are_split_at_commas(environment):
    environment(ZOHO_FREE_PLAN_CODES="free, basic ,")

    assert Settings.load().zoho_free_plan_codes == ("free", "basic")


def test_settings_do_not_show_their_secrets(environment):
    assert "pw@" not in repr(Settings.load())
    assert KEY not in repr(Settings.load())


# --- the file ---


def test_a_dot_env_is_read_and_the_environment_wins(environment, tmp_path):
    (tmp_path / ".env").write_text("LOG_LEVEL=DEBUG\nSLOTS=7\nSOMETHING_ELSE=1\n")
    environment(ZOHO_RELAY_ENV_FILE=None, SLOTS="8")

    settings = Settings.load()

    assert (settings.log_level, settings.slots) == ("DEBUG", 8)


def test_an_empty_name_of_a_file_means_none(environment, tmp_path):
    (tmp_path / ".env").write_text("LOG_LEVEL=DEBUG\n")

    assert Settings.load().log_level == "INFO"


def test_another_file_can_be_named(environment, tmp_path):
    (tmp_path / ".env").write_text("SLOTS=7\n")
    (tmp_path / "other.env").write_text("LOG_LEVEL=WARNING\n")
    environment(ZOHO_RELAY_ENV_FILE=str(tmp_path / "other.env"))

    settings = Settings.load()

    assert (settings.log_level, settings.slots) == ("WARNING", 32)


def test_a_named_file_must_be_there(environment, tmp_path):
    environment(ZOHO_RELAY_ENV_FILE=str(tmp_path / "absent.env"))

    assert problems() == ["ZOHO_RELAY_ENV_FILE: there is no such file"]


BAD_FILES = [
    ("SLOTS=7\n".encode("utf-16"), 1),
    ("SLOTS=7\n".encode("utf-16-le"), 1),
    ("SLOTS=7\n# Schlüssel\n".encode("latin-1"), 2),
]


@pytest.mark.parametrize(("content", "line"), BAD_FILES)
def test_a_file_in_another_encoding_is_named_with_the_line(environment, tmp_path, content, line):
    (tmp_path / ".env").write_bytes(content)
    environment(ZOHO_RELAY_ENV_FILE=None)

    assert problems() == [f".env, line {line}: is not UTF-8: save the file in that encoding"]


def test_a_line_that_cannot_be_read_is_named(environment, tmp_path):
    (tmp_path / ".env").write_text("PREFETCH=7\nZOHO_CLIENT_ID='s3cret\nLOG_LEVEL=INFO\n")
    environment(ZOHO_RELAY_ENV_FILE=None)

    assert problems() == [".env, line 2: is not of the form NAME=value; is a quote open?"]


def test_a_mark_of_utf_8_at_the_beginning_of_the_file_is_no_part_of_a_name(environment, tmp_path):
    (tmp_path / ".env").write_bytes("SLOTS=7\n# Schlüssel\n".encode("utf-8-sig"))
    environment(ZOHO_RELAY_ENV_FILE=None)

    assert Settings.load().slots == 7
