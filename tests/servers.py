"""Keep the tests' servers running while you work: `python -m tests.servers`, until Ctrl-C."""

import signal

from deploy.local.stack import Stack
from tests.kit.servers import TEST_STACK


def main() -> None:
    with Stack(TEST_STACK, services={}, sandbox=False, durable=False):
        print("RabbitMQ and PostgreSQL are ready for tests; Ctrl-C stops them.", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main()
