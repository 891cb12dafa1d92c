"""Let no test of a run reach another machine.

Loaded by tests/conftest.py. What is tried elsewhere is refused at once, and fails the run at its
end too: the code under test takes a refusal for an outage, and tries again. Services that run as
processes of their own get their addresses from `deploy.local`, which knows no others.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest

from tests.kit.end_of_run import EndOfRun

# Nobody's, by RFC 2606 and RFC 5737: tests use them because they cannot be reached.
_NOBODYS: Final = (".invalid", ".test", ".example", "example.com", "example.org", "example.net")
_NOBODYS_NETWORKS: Final = ("192.0.2.", "198.51.100.", "203.0.113.")
_HERE: Final = ("localhost", "")

_tried: list[str] = []


class NothingElsewhere(EndOfRun):
    heading = "tests tried to reach other machines"

    def problems(self) -> Sequence[str]:
        return sorted(set(_tried))


def pytest_configure() -> None:
    socket.getaddrinfo = _resolving_here(socket.getaddrinfo)
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _connecting_here(getattr(socket.socket, name)))


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    if items and not config.option.collectonly:
        items.append(NothingElsewhere.from_parent(session, name="nothing leaves this machine"))


def _resolving_here(resolve: Callable[..., Any]) -> Callable[..., Any]:
    def resolve_here(host: str | bytes | None, *args: Any, **kwargs: Any) -> Any:
        _require_here(host, socket.gaierror(socket.EAI_NONAME, "not a name of this machine"))
        return resolve(host, *args, **kwargs)

    return resolve_here


def _connecting_here(connect: Callable[..., Any]) -> Callable[..., Any]:
    def connect_here(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _require_here(address[0], OSError(errno.ENETUNREACH, "not an address of this machine"))
        return connect(self, address)

    return connect_here


def _require_here(host: str | bytes | None, error: OSError) -> None:
    name = host.decode() if isinstance(host, bytes) else host or ""
    if _is_here(name):
        return
    if not name.endswith(_NOBODYS) and not name.startswith(_NOBODYS_NETWORKS):
        _tried.append(name)
    raise error


def _is_here(name: str) -> bool:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return name in _HERE
    return address.is_loopback or address.is_unspecified
