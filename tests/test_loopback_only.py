"""Nothing of a test run reaches another machine, and what tries to is named at the end."""

from __future__ import annotations

import socket

import aiohttp
import pytest

from tests.kit import loopback_only


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(OSError, match=r"not a(n address| name) of this machine"):
        socket.create_connection(("192.0.2.1", 443), timeout=5)


async def test_a_name_of_another_machine_is_refused() -> None:
    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("https://billing.invalid/", timeout=aiohttp.ClientTimeout(5))


def test_what_somebody_else_owns_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(loopback_only, "_tried", tried)

    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("www.somebody-owns-this.net", 443)

    assert tried == ["www.somebody-owns-this.net"]


def test_this_machine_is_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        socket.create_connection(("localhost", port), timeout=5).close()
