"""Run all tests in three processes side by side: `make test`.

They wait for servers more than they compute, so three take less than half the time of one. Each is
an ordinary pytest. What it printed is shown when it is done, and the last line counts all of them.
Arguments go to a single pytest instead: `python -m tests.shards -k tiers -x`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import IO, NamedTuple

from deploy.local.stack import Stack
from tests.contract.plugin import REPORT, SENT_FOLDER
from tests.contract.report import Report

ROOT = Path(__file__).resolve().parent.parent
PYTEST = (sys.executable, "-m", "pytest", "-m", "not bench and not chaos")

# Whole systems. What the services share. The last takes everything that no other names.
SHARDS = (
    ("tests/chaos", "tests/end_to_end", "tests/containers"),
    ("tests/shared",),
)
_COUNTED = re.compile(r"(\d+) (passed|failed|skipped|errors?)")


class Shard(NamedTuple):
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    name: str


def main() -> int:
    if len(sys.argv) > 1:
        return subprocess.run([*PYTEST, *sys.argv[1:]], cwd=ROOT, check=False).returncode
    with (
        Stack(ROOT / ".run" / "test", services={}, sandbox=False, durable=False),
        tempfile.TemporaryDirectory() as sent,
    ):
        os.environ[SENT_FOLDER] = sent
        return _run(shards(), Path(sent))


def shards() -> list[tuple[str, ...]]:
    """The folders and files of each process, relative to the project."""
    named = {folder for shard in SHARDS for folder in shard}
    found = sorted(
        f"tests/{entry.name}"
        for entry in (ROOT / "tests").iterdir()
        if entry.match("test_*.py") or any(entry.rglob("test_*.py"))
    )
    return [*SHARDS, tuple(entry for entry in found if entry not in named)]


def _run(shards: list[tuple[str, ...]], sent: Path) -> int:
    running = [_start(folders) for folders in shards]
    failed = 0
    counts: Counter[str] = Counter()
    while running:
        done = next((shard for shard in running if shard.process.poll() is not None), None)
        if done is None:
            time.sleep(0.2)
            continue
        running.remove(done)
        done.output.seek(0)
        text = done.output.read().decode(errors="replace")
        print(f"\n{done.name}\n{text}", flush=True)
        for number, what in _COUNTED.findall(text.strip().splitlines()[-1] if text.strip() else ""):
            counts["failed" if what.startswith("error") else what] += int(number)
        failed += done.process.returncode != 0
    _show_covered(sent)
    if failed and not counts["failed"]:
        counts["failed"] = failed  # a process that ended without a count
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if failed else 0


def _show_covered(sent: Path) -> None:
    """Report which operations of Zoho's the services have sent, and name the others."""
    report = Report()
    for file in sent.glob("*.json"):
        report.load(file)
    REPORT.write_text("\n".join(report.lines()) + "\n")
    others = sorted({*report.never_sent(), *report.sent_by_tests_alone()})
    for product, name in others:
        print(f"sent by no service's own path: {product} {name}")


def _start(folders: tuple[str, ...]) -> Shard:
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
    process = subprocess.Popen(
        [*PYTEST, "-q", *folders], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
    )
    return Shard(process, output, " ".join(folders))


if __name__ == "__main__":
    sys.exit(main())
