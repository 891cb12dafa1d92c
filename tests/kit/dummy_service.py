"""Run the smallest service: ready on METRICS_PORT, shows its settings, drains on SIGTERM.

With the argument `dies` it fails at its start, with `is-killed` it dies there as if memory ran out,
with `refuses` it refuses to start.
"""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DUMMY = __file__  # what a stack runs


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        given = {"environment": dict(os.environ), "cwd": os.getcwd()}  # noqa: PTH109
        body = json.dumps(given).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> None:
    if "dies" in sys.argv:
        sys.exit("ZOHO_ORGANIZATION_ID: is not set")
    if "is-killed" in sys.argv:
        print("reading all of it", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if "refuses" in sys.argv:
        print("remove the folder .run/", file=sys.stderr)
        sys.exit(2)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["METRICS_PORT"])), Handler)
    print("ready", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stopping.wait()
    print("drained", flush=True)


if __name__ == "__main__":
    main()
