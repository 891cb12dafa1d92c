"""Test the promises of `docker-compose.yml`, read without an engine."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.compose.settings import SERVICES
from tests.containers.conftest import Installation

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONTAINERS: dict[str, dict[str, Any]] = COMPOSE["services"]
WRITERS = {"settings", "demo-settings"}


def mounted(volume: str) -> set[str]:
    """The containers that mount a volume."""
    return {
        name
        for name, container in CONTAINERS.items()
        if any(mount.startswith(f"{volume}:") for mount in container.get("volumes", ()))
    }


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_has_no_rights_that_it_does_not_need(name: str) -> None:
    container = CONTAINERS[name]

    assert container["read_only"]
    assert container["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in container["security_opt"]
    assert name == "settings" or "cap_add" not in container
    assert container.get("user") != "root" or container["network_mode"] == "none"


@pytest.mark.parametrize("name", CONTAINERS)
def test_logs_of_a_container_do_not_fill_the_disk(name: str) -> None:
    assert CONTAINERS[name]["logging"]["options"].keys() == {"max-size", "max-file"}


@pytest.mark.parametrize("name", sorted(CONTAINERS.keys() - WRITERS))
def test_what_dies_is_started_again_and_what_stops_has_time(name: str) -> None:
    assert CONTAINERS[name]["restart"] == "unless-stopped"
    assert CONTAINERS[name]["stop_grace_period"] in {"45s", "60s"}


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for container in CONTAINERS.values() for port in container.get("ports", ())]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_reads_only_its_own_settings() -> None:
    settings = [volume for volume in COMPOSE["volumes"] if volume.endswith("-settings")]

    assert {volume: mounted(volume) for volume in settings} == {
        volume: {"settings", volume.removesuffix("-settings")} for volume in settings
    }
    assert mounted("kept") == WRITERS
    assert not any("env_file" in container for container in CONTAINERS.values())


def test_only_the_settings_see_the_checkout_and_the_demo_has_none_of_it() -> None:
    assert mounted(".") == {"settings"}


def test_the_settings_are_written_to_where_volumes_are(installation: Installation) -> None:
    installation.start()
    written = {file.parent.name for file in (installation.root / "settings").glob("*/*")}

    assert written == {
        Path(mount.split(":")[1]).name
        for mount in CONTAINERS["settings"]["volumes"]
        if ":/settings/" in mount
    }


def test_prometheus_scrapes_every_service_where_it_listens() -> None:
    file = ROOT / "deploy" / "prometheus" / "prometheus.yml"
    jobs = yaml.safe_load(file.read_text())["scrape_configs"]
    scraped = {
        target for job in jobs for group in job["static_configs"] for target in group["targets"]
    }

    listening = {f"{name}:{CONTAINERS[name]['environment']['METRICS_PORT']}" for name in SERVICES}
    assert scraped == listening | {"rabbitmq:15692"}


def test_the_image_gets_every_module_that_the_settings_import() -> None:
    listing = "import sys, deploy.compose.settings; print(*(m for m in sys.modules))"
    command = [sys.executable, "-c", listing]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    modules = [name for name in output.split() if name.startswith("deploy.")]

    let_in = (ROOT / ".dockerignore").read_text().splitlines()

    files = [f"{name.replace('.', '/')}.py" for name in modules if name.count(".") > 1]
    assert files
    assert [
        file for file in files if f"!{file}" not in let_in and f"!{Path(file).parent}" not in let_in
    ] == []
