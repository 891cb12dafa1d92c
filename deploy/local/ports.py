"""Free ports on loopback, the same ones every time a stack starts.

They lie below the range from which the kernel takes the ports of outgoing connections: a client
that keeps trying to reach a stopped server there could otherwise be given the server's port, and
even connect to itself.
"""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterable
from pathlib import Path

LOWEST = 20_000


class Ports:
    """Ports by name, remembered in `file`.

    A remembered port that another program has taken meanwhile is replaced, unless `in_use` says
    that the stack itself is running and holds it.
    """

    def __init__(self, file: Path, *, in_use: bool) -> None:
        self._file = file
        self._in_use = in_use
        self._ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}

    def of(self, name: str) -> int:
        port = self._ports.get(name)
        if port is None or not (self._in_use or is_free(port)):
            port = self._ports[name] = free_port(but=self._ports.values())
            self._file.write_text(json.dumps(self._ports, indent=1))
        return port


def free_port(*, but: Iterable[int] = ()) -> int:
    """One that a server could listen on now, and that is in nobody's hands by chance soon after."""
    taken = set(but)
    for port in random.sample(range(LOWEST, _first_outgoing_port()), k=200):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port found on 127.0.0.1")


def is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _first_outgoing_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        first = 32_768
    return first if first > LOWEST + 1_000 else 32_768
