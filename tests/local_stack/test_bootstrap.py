"""Test installing what is missing without starting or changing the machine's own services."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import debian
from deploy.local.stack import ROOT

APT = """#!/bin/sh
echo "$@" >> {log}
case "$*" in *install*) "{policy}" rabbitmq-server start; echo "policy says $?" >> {log};; esac
case "$*" in *update*) touch {updated};; esac
{last}
"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "apt.log"


def run_script(tmp_path: Path, log: Path, last: str) -> int:
    """Install with an `apt-get` that only records its arguments."""
    policy, updated = tmp_path / "policy-rc.d", tmp_path / "updated"
    apt = tmp_path / "bin" / "apt-get"
    apt.parent.mkdir()
    apt.write_text(APT.format(log=log, policy=policy, updated=updated, last=last))
    apt.chmod(0o755)
    argv = ["sh", "-c", debian._SCRIPT, "sh", str(policy), "rabbitmq-server"]
    environment = {"PATH": f"{apt.parent}:{os.environ['PATH']}", "updated": str(updated)}
    return subprocess.run(argv, env=environment, check=False).returncode


def test_no_service_starts_while_packages_are_installed(tmp_path: Path, log: Path) -> None:
    assert run_script(tmp_path, log, last="exit 0") == 0

    assert "policy says 101" in log.read_text()
    assert "update" not in log.read_text()
    assert not (tmp_path / "policy-rc.d").exists()


def test_a_policy_of_the_machines_own_is_left_as_it_is(tmp_path: Path, log: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 104\n")
    policy.chmod(0o755)

    assert run_script(tmp_path, log, last="exit 0") == 0

    assert policy.read_text() == "#!/bin/sh\nexit 104\n"


def test_package_lists_are_fetched_only_when_the_first_try_fails(tmp_path: Path, log: Path) -> None:
    assert run_script(tmp_path, log, last='test -e "$updated"') == 0

    calls = [line for line in log.read_text().splitlines() if not line.startswith("policy")]
    assert ["update" in call for call in calls] == [False, True, False]


def test_a_failed_installation_is_reported_and_leaves_no_policy(tmp_path: Path, log: Path) -> None:
    assert run_script(tmp_path, log, last="exit 1") != 0

    assert not (tmp_path / "policy-rc.d").exists()


def test_where_nothing_can_be_installed_the_command_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(debian.CannotInstall) as failed:
        debian.install([debian.Missing("rabbitmq-server", "RabbitMQ 3.10 or newer")])

    assert "RabbitMQ 3.10 or newer" in str(failed.value)
    assert "apt-get install --no-install-recommends rabbitmq-server" in str(failed.value)


def test_what_runs_before_the_environment_exists_needs_only_the_standard_library() -> None:
    for module in ("bootstrap", "credentials"):
        code = f"import deploy.local.{module}"
        environment = {"PATH": os.environ["PATH"]}
        argv = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"]
        subprocess.run(argv, cwd=ROOT, env=environment, check=True)


def test_make_without_a_target_lists_the_targets() -> None:
    argv = ["make"]
    said = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    for target in ("demo", "test", "check", "bench", "chaos", "up", "down", "keys"):
        assert f"make {target} " in said
