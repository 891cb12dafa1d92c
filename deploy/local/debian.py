"""Installing on Debian and Ubuntu, without starting a single service of the system's.

A package's service is started by its installation unless /usr/sbin/policy-rc.d says no: where there
is none, ours says no for as long as the installation takes. Units that were not there before are
switched off, so that they do not start at the next boot either.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

POLICY = Path("/usr/sbin/policy-rc.d")
_SERVICES_OF = {
    "rabbitmq-server": ("rabbitmq-server", "epmd.socket"),
    "postgresql": ("postgresql",),
    "prometheus": ("prometheus",),
    "pgbouncer": ("pgbouncer",),
}
# The script gets the packages as arguments. The lists are fetched only when the first try fails:
# on a new machine there are none, later they may name versions that are gone.
_SCRIPT = """
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
policy="$1"; shift
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\\nexit 101\\n' > "$policy" && chmod 755 "$policy" || exit 1
fi
install() {
    apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install "$@" < /dev/null
}
install "$@" > /dev/null 2>&1 && exit 0
apt-get -o DPkg::Lock::Timeout=300 -qq update < /dev/null || exit 1
install "$@" > /dev/null
"""


class Missing(NamedTuple):
    """A Debian package, and what it is needed for."""

    package: str
    what: str


class CannotInstall(Exception):
    """Says what is missing and the command that installs it."""


def install(missing: Sequence[Missing]) -> None:
    """Install the packages. Raises CannotInstall when this machine or user cannot."""
    names = [each.package for each in missing]
    as_root = _as_root()
    if not shutil.which("apt-get") or as_root is None:
        raise CannotInstall(_advice(missing))
    print(f"zoho-relay: installing {', '.join(names)}", flush=True)
    had = set(filter(_is_enabled, _units(names)))
    argv = [*as_root, "sh", "-c", _SCRIPT, "sh", str(POLICY), *names]
    if subprocess.run(argv, check=False).returncode != 0:  # noqa: S603
        raise CannotInstall(f"the installation failed.\n{_advice(missing)}")
    for unit in _units(names):
        if unit not in had and _is_enabled(unit):
            subprocess.run(  # noqa: S603
                [*as_root, "systemctl", "disable", unit], capture_output=True, check=False
            )


def _as_root() -> list[str] | None:
    """Return how to run something as root. None when we may not. Only a person is asked."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None:
        return None
    if sys.stdin.isatty():
        return [sudo]
    allowed = subprocess.run([sudo, "-n", "true"], capture_output=True, check=False)  # noqa: S603
    return [sudo, "-n"] if allowed.returncode == 0 else None


def _units(packages: Sequence[str]) -> list[str]:
    if not Path("/run/systemd/system").exists():
        return []
    return [unit for name in packages for unit in _SERVICES_OF.get(name, ())]


def _is_enabled(unit: str) -> bool:
    argv = ["systemctl", "is-enabled", "--quiet", unit]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0  # noqa: S603


def _advice(missing: Sequence[Missing]) -> str:
    parts = "\n".join(f"  - {each.what}" for each in missing)
    packages = " ".join(each.package for each in missing)
    return (
        f"missing on this machine:\n{parts}\n"
        "On Debian or Ubuntu this installs it:\n"
        f"  sudo apt-get update && sudo apt-get install --no-install-recommends {packages}"
    )
