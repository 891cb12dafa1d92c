"""Check the URLs of PostgreSQL and RabbitMQ, and split those that name several hosts.

No error quotes a URL: it holds a password.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSIONS: Final = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
_FILES: Final = ("sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile")
# Parameters of libpq that asyncpg would send to the server as settings. These only tune a client.
# The connection's own timeouts do the work of the keepalives.
_TUNING: Final = frozenset(
    {
        *("connect_timeout", "tcp_user_timeout", "client_encoding", "fallback_application_name"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("sslcompression", "sslsni", "sslcertmode", "load_balance_hosts", "gssdelegation"),
    }
)
# These promise something that the driver cannot keep, unless they have one of the values named.
_UNSUPPORTED: Final = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "require_auth": (),
    "requirepeer": (),
    "requiressl": ("0",),
    "hostaddr": (),
    "replication": (),
}


def check_url(url: str, schemes: tuple[str, ...]) -> None:
    """Check the URL of one host. Raises ValueError."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text may quote the value
        valid = False
    if not valid:
        raise _not_a_url(schemes)


def check_amqp_url(url: str) -> None:
    """Check a URL of RabbitMQ, which may name several hosts. Raises ValueError."""
    for host_url in amqp_urls(url):
        check_url(host_url, ("amqp", "amqps"))


def amqp_urls(url: str) -> list[str]:
    """Split `amqp://user:password@h1:5672,h2/vhost` into one URL per host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _not_a_url(("amqp", "amqps")) from None
    user, at, hosts = parts.netloc.rpartition("@")
    return [parts._replace(netloc=user + at + host).geturl() for host in hosts.split(",")]


def check_database_url(url: str) -> None:
    """Check a URL of PostgreSQL as libpq takes it: several hosts, a socket, TLS. Raises ValueError.

    `postgresql://h1:5432,h2/relay?target_session_attrs=read-write` names the hosts of a cluster,
    `postgresql:///relay?host=h1,h2` does so in a parameter.
    """
    schemes = ("postgresql", "postgres")
    try:
        parts = urlsplit(url)
        parameters = dict(_parameters(parts))
        hosts = _hosts_of(parts, parameters)
    except ValueError:
        raise _not_a_url(schemes) from None
    if parts.scheme not in schemes or not hosts or not all(map(_is_host, hosts)):
        raise _not_a_url(schemes)
    for name, allowed in (("sslmode", _SSL_MODES), ("target_session_attrs", _SESSIONS)):
        if name in parameters and parameters[name] not in allowed:
            raise ValueError(f"has a {name} that must be one of {', '.join(allowed)}")
    for name, harmless in _UNSUPPORTED.items():
        if name in parameters and parameters[name] not in harmless:
            raise ValueError(f"has the parameter {name}, which is not supported: take it out")
    for name in _FILES:
        if name in parameters and not Path(parameters[name]).is_file():
            raise ValueError(f"has a {name} that names no file")


def driver_url(url: str) -> str:
    """Return the URL without the parameters of libpq that asyncpg does not know."""
    parts = urlsplit(url)
    known = [
        (name, value)
        for name, value in _parameters(parts)
        if name not in _TUNING and name not in _UNSUPPORTED
    ]
    return parts._replace(query=urlencode(known)).geturl()


def _parameters(parts: SplitResult) -> list[tuple[str, str]]:
    return parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))


def _hosts_of(parts: SplitResult, parameters: dict[str, str]) -> list[str]:
    in_netloc = parts.netloc.rpartition("@")[2]
    if in_netloc:
        return in_netloc.split(",")
    hosts = parameters.get("host", "").split(",")
    ports = parameters.get("port", "").split(",")
    if not all(port.isdecimal() for port in ports if port):
        raise ValueError
    return [host for host in hosts if host]


def _is_host(host: str) -> bool:
    if unquote(host).startswith("/"):  # the folder of a socket
        return True
    try:
        parts = urlsplit(f"//{host}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _not_a_url(schemes: tuple[str, ...]) -> ValueError:
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)
    return ValueError(f"must be a URL that starts with {wanted}, and name a host")
