"""URLs of clusters are taken as libpq takes them, and split where a driver takes one host."""

import pytest

from shared.server_urls import amqp_urls, check_amqp_url, check_database_url, driver_url


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://relay:pw@db/relay",
        "postgres://relay@db:5433/relay",
        "postgresql://relay:pw@h1:5432,h2:5432/relay?target_session_attrs=read-write",
        "postgresql://relay:pw@h1,[::1]:5433,10.0.0.1/relay",
        "postgresql:///relay?host=h1,h2&port=5432,5433&user=relay",
        "postgresql:///relay?host=/var/run/postgresql",
        "postgresql://relay@%2Fvar%2Frun%2Fpostgresql/relay",
        "postgresql://relay:p%40w@db/relay?sslmode=verify-full&application_name=relay",
        "postgresql://relay@db/relay?channel_binding=prefer&connect_timeout=10",
    ],
)
def test_a_database_url_of_libpq_is_accepted(url: str) -> None:
    check_database_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://relay@db/relay?channel_binding=require", "channel_binding"),
        ("postgresql://relay@db/relay?target_session_attrs=write", "target_session_attrs"),
        ("postgresql://relay@db/relay?host", "must be a URL"),
        ("postgresql://relay@db:0/relay", "must be a URL"),
        ("postgresql:///relay?host=h1&port=x", "must be a URL"),
        ("mysql://db/relay", "must be a URL"),
    ],
)
def test_a_database_url_that_cannot_work_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_database_url(url)


def test_the_driver_is_not_given_what_it_would_send_to_the_server() -> None:
    url = "postgresql://relay@h1,h2/relay?keepalives_idle=5&sslmode=require&connect_timeout=2"
    assert driver_url(url) == "postgresql://relay@h1,h2/relay?sslmode=require"


def test_several_hosts_of_rabbitmq_are_a_url_each() -> None:
    url = "amqps://relay:p%40w@mq1:5671,mq2,[::1]:5673/%2Frelay?heartbeat=8"

    check_amqp_url(url)

    assert amqp_urls(url) == [
        "amqps://relay:p%40w@mq1:5671/%2Frelay?heartbeat=8",
        "amqps://relay:p%40w@mq2/%2Frelay?heartbeat=8",
        "amqps://relay:p%40w@[::1]:5673/%2Frelay?heartbeat=8",
    ]
