"""A private RabbitMQ node: its own epmd, cookie, plugins and data, everything on loopback.

The distribution's wrapper scripts are passed by: as root they change to the system's user, and as
another user they refuse. The user and its rights are definitions that the node loads before it
opens its listeners, so an open port means a node that is ready.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets as random
import shutil
from collections.abc import Mapping
from pathlib import Path

from deploy.local.ports import Ports
from deploy.local.postgres import NotInstalled
from deploy.local.processes import SERVERS, ProcessSpec, write_private

USER = "relay"
_SERVERS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "/opt/homebrew/sbin/rabbitmq-server")


def server_program() -> Path:
    """Raises NotInstalled when RabbitMQ is not on this machine."""
    for place in (*_SERVERS, shutil.which("rabbitmq-server") or ""):
        if place and Path(place).exists():
            return Path(place)
    raise NotInstalled("RabbitMQ (rabbitmq-server)")


def prepare(folder: Path, ports: Ports, secrets: Mapping[str, str]) -> tuple[ProcessSpec, Path]:
    """Write the node's configuration. How to run it, and where its data is."""
    home = folder / "rabbitmq"
    data = home / "mnesia"
    data.mkdir(parents=True, exist_ok=True)
    home.chmod(0o700)
    amqp, api = ports.of("rabbitmq.amqp"), ports.of("rabbitmq.api")
    _write_definitions(home / "definitions.json", secrets["amqp_password"])
    (home / "enabled_plugins").write_text("[rabbitmq_management,rabbitmq_prometheus].\n")
    (home / "rabbitmq-env.conf").write_text("# ours, so that the system's is not read\n")
    (home / "rabbitmq.conf").write_text(_configuration(home, ports))
    epmd = str(ports.of("rabbitmq.epmd"))
    environment = {
        "PATH": f"{os.defpath}:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "HOME": str(home),  # the Erlang cookie lives there
        "ERL_EPMD_PORT": epmd,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "zoho_relay@localhost",
        "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(data),
        "RABBITMQ_LOG_BASE": str(home),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_SCHEMA_DIR": str(home / "schema"),
        "RABBITMQ_PLUGINS_EXPAND_DIR": str(home / "plugins"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(amqp),
        "RABBITMQ_DIST_PORT": str(ports.of("rabbitmq.distribution")),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        # The script then becomes the node, instead of a shell that waits for it: its pid is the
        # node's, and SIGKILL takes the node.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    spec = ProcessSpec(
        name="rabbitmq.1",
        argv=[str(server_program())],
        env=environment,
        stage=SERVERS,
        ready=f"tcp:{amqp},{api}",
        cwd=str(home),
        stop_timeout_s=60,
        after_stop=[shutil.which("epmd") or "/usr/bin/epmd", "-kill"],
    )
    return spec, data


def _configuration(home: Path, ports: Ports) -> str:
    return "\n".join(
        (
            f"listeners.tcp.1 = 127.0.0.1:{ports.of('rabbitmq.amqp')}",
            "management.tcp.ip = 127.0.0.1",
            f"management.tcp.port = {ports.of('rabbitmq.api')}",
            "prometheus.tcp.ip = 127.0.0.1",
            f"prometheus.tcp.port = {ports.of('rabbitmq.prometheus')}",
            f"load_definitions = {home / 'definitions.json'}",
            "log.console = true",
            "log.console.level = warning",
            "log.file = false",
            "disk_free_limit.absolute = 100MB",
            "",
        )
    )


def _write_definitions(file: Path, password: str) -> None:
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    user = {
        "name": USER,
        "password_hash": _password_hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator"],
        "limits": {},
    }
    definitions = {
        "users": [user],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": USER, "vhost": "/", **everything}],
    }
    write_private(file, json.dumps(definitions, indent=1).encode())


def _password_hash(password: str) -> str:
    """Source: https://www.rabbitmq.com/docs/passwords#computing-password-hash"""
    salt = random.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
