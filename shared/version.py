"""Read this program's version. `pyproject.toml` is the only place that has it."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).resolve().parent.parent / "pyproject.toml"


def _version() -> str:
    """Prefer the checkout or image that the code lies in: an installation may be of another one."""
    if _PROJECT.exists():
        return str(tomllib.loads(_PROJECT.read_text())["project"]["version"])
    return metadata.version("zoho-relay")


VERSION: Final = _version()
