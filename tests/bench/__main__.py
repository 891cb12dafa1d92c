"""Measure our messaging against a loop written by hand, on servers that are named.

Alternating, each run in a process of its own, medians of `--runs`. `make bench` runs the same as a
test, on servers of its own. BENCH_AMQP_URL and BENCH_DATABASE_URL name the servers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

import uvloop

from shared.observability import logs
from tests.bench import bare, baseline, ours
from tests.bench.workload import Servers

CONTENDERS: Final = {"bare": bare.run, "baseline": baseline.run, "ours": ours.run}
AT_LEAST: Final = 2.4
AIM: Final = 3.0
FLOOR: Final = 0.15
"""Of bare consuming. Under this part, the machine is too busy for a fair baseline."""


def compare(
    runs: int,
    count: int,
    env: Mapping[str, str],
    names: tuple[str, ...] = tuple(CONTENDERS),
    *,
    show: Callable[[str], None] = print,
) -> dict[str, float]:
    """The median of each contender, in messages per second of wall time."""
    rates: dict[str, list[float]] = defaultdict(list)
    for number in range(runs):
        for name in names:
            rate = _one(name, count, f"{os.getpid()}-{number}", env)
            rates[name].append(rate)
            show(f"run {number + 1}: {name:9} {rate:8.0f} messages/s")
    return {name: statistics.median(values) for name, values in rates.items()}


def table(medians: Mapping[str, float]) -> str:
    """The medians, one a line, and their ratios."""
    lines = [f"{name:9} {median:8.0f} messages/s" for name, median in medians.items()]
    if len(medians) == len(CONTENDERS):
        floor = medians["baseline"] / medians["bare"]
        ratio = medians["ours"] / medians["baseline"]
        lines.append(f"baseline / bare {floor:.2f} (at least {FLOOR})")
        lines.append(f"ours / baseline {ratio:.2f} (at least {AT_LEAST}, {AIM} to aim for)")
    return "\n" + "\n".join(lines)


def _one(name: str, count: int, prefix: str, env: Mapping[str, str]) -> float:
    command = [sys.executable, "-m", "tests.bench", "--one", name]
    command += ["--count", str(count), "--prefix", f"{prefix}-{name}"]
    finished = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"{name} failed:\n{finished.stdout}\n{finished.stderr}")
    return float(finished.stdout.strip().splitlines()[-1])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--count", type=int, default=3000)
    arguments.add_argument("--only", choices=list(CONTENDERS))
    arguments.add_argument("--one", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    arguments.add_argument("--prefix", default="", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        logs.configure("bench")
        servers = Servers(os.environ["BENCH_AMQP_URL"], os.environ["BENCH_DATABASE_URL"])
        print(uvloop.run(CONTENDERS[options.one](servers, options.count, options.prefix)))
        return
    names = (options.only,) if options.only else tuple(CONTENDERS)
    print(table(compare(options.runs, options.count, os.environ, names)))


if __name__ == "__main__":
    main()
