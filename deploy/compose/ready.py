"""The containers' health check: exit 0 when a GET on this container's own port answers 200.

    python -IS ready.py [<port> <path>]     default: /readyz on METRICS_PORT

By hand on a socket: it runs every few seconds in each container, and an HTTP client takes three
times as long to import as this takes to run.
"""

import os
import socket
import sys


def answers_200(port: int, path: str) -> bool:
    """False too when nothing listens, or no status comes within 3 s."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            return connection.makefile("rb").readline().split()[1:2] == [b"200"]
    except OSError:
        return False


if __name__ == "__main__":
    port, path = sys.argv[1:] or (os.environ["METRICS_PORT"], "/readyz")
    sys.exit(not answers_200(int(port), path))
