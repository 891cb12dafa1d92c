"""Write the record of this version: `python -m tests.release` (docs/releasing.md).

It may be written again until the version is tagged.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys

from shared.version import VERSION
from tests.release.record import FOLDER, ReleaseRecord, broken, present, records


def main() -> int:
    listing = ("git", "tag", "--list", f"v{VERSION}")
    tags = subprocess.run(listing, cwd=FOLDER, capture_output=True, check=False)
    if tags.stdout.strip():
        print(f"{VERSION} is released: its record stays as it is", file=sys.stderr)
        return 1
    now = asyncio.run(present())
    file = FOLDER / f"{VERSION}.json"
    problems = [
        f"{other.stem}: {problem}"
        for other in records()
        if other != file
        for problem in broken(ReleaseRecord.read(other), now)
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        now.write(file)
        print(f"written: {file}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
