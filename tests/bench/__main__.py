"""`python -m tests.bench`: our messaging against a loop written by hand, in one run.

Alternating, each time in a process of its own, medians of five. Options: `--runs`, `--count`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Final

import uvloop

from shared.observability import logs
from tests.bench import bare, baseline, ours
from tests.bench.workload import Servers

CONTENDERS: Final = {"bare": bare.run, "baseline": baseline.run, "ours": ours.run}
AT_LEAST: Final = 1.3
FLOOR: Final = 0.15


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--count", type=int, default=3000)
    arguments.add_argument("--only", choices=list(CONTENDERS))
    arguments.add_argument("--one", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    arguments.add_argument("--prefix", default="", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        servers = Servers(os.environ["BENCH_AMQP_URL"], os.environ["BENCH_DATABASE_URL"])
        logs.configure("bench")
        run = CONTENDERS[options.one]
        print(uvloop.run(run(servers, options.count, options.prefix)))
        return
    if os.environ.get("BENCH_AMQP_URL"):
        _compare(options, dict(os.environ))
        return
    from deploy.local.stack import Stack  # only when no servers are given

    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        stack = Stack(Path(folder) / "stack", services={}, sandbox=False)
        stack.start()
        try:
            env = {
                **os.environ,
                "BENCH_AMQP_URL": stack.env["AMQP_URL"],
                "BENCH_DATABASE_URL": stack.env["DATABASE_URL"],
            }
            _compare(options, env)
        finally:
            stack.stop()


def _compare(options: argparse.Namespace, env: dict[str, str]) -> None:
    names = [options.only] if options.only else list(CONTENDERS)
    rates: dict[str, list[float]] = defaultdict(list)
    for number in range(options.runs):
        for name in names:
            rate = _one(name, options.count, f"{os.getpid()}-{number}", env)
            rates[name].append(rate)
            print(f"run {number + 1}: {name:9} {rate:8.0f} messages/s", flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print()
    for name, median in medians.items():
        print(f"{name:9} {median:8.0f} messages/s")
    if not options.only:
        _judge(medians)


def _judge(medians: dict[str, float]) -> None:
    floor = medians["baseline"] / medians["bare"]
    ratio = medians["ours"] / medians["baseline"]
    print(f"\nbaseline / bare {floor:.2f} (at least {FLOOR})")
    print(f"ours / baseline {ratio:.2f} (at least {AT_LEAST}, 2.5 to aim for)")
    if floor < FLOOR or ratio < AT_LEAST:
        sys.exit(1)


def _one(name: str, count: int, prefix: str, env: dict[str, str]) -> float:
    command = [sys.executable, "-m", "tests.bench", "--one", name]
    command += ["--count", str(count), "--prefix", f"{prefix}-{name}"]
    finished = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(f"{name} failed:\n{finished.stdout}\n{finished.stderr}")
    return float(finished.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
