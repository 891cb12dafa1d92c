"""Keep the tests' servers running while you work: `python -m tests.servers`, until Ctrl-C."""

import signal

from deploy.local.stack import Stack
from tests.kit.servers import TEST_STACK

_STOP = {signal.SIGINT, signal.SIGTERM}


def main() -> None:
    with Stack(TEST_STACK, services={}, sandbox=False, durable=False):
        # Blocked only now: the supervisor would inherit it, and never hear that it shall stop.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP)
        print("RabbitMQ and PostgreSQL are ready for tests; Ctrl-C stops them.", flush=True)
        signal.sigwait(_STOP)


if __name__ == "__main__":
    main()
