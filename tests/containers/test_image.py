"""Test the promises of the image, read without an engine: its version, and where it comes from."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from shared.version import VERSION

ROOT = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def test_the_image_is_labelled_with_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == VERSION
    assert re.findall(r"image\.version=(\S+)", DOCKERFILE) == [VERSION]


def test_the_programs_in_the_image_know_their_version(tmp_path: Path) -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    for source, target in re.findall(r"^COPY ([\w.]+) ([\w.]+)$", DOCKERFILE, re.MULTILINE):
        if f"!{source}" not in allowed:
            continue
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, tmp_path / target)

    # -S: nothing is installed there either.
    code = "import shared.version; print(shared.version.VERSION)"
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.stdout, run.stderr) == (f"{VERSION}\n", "")
