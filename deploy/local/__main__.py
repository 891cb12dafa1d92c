"""`make up`, `make down` and the switches of the servers.

python -m deploy.local up [--replicas billing-worker=2,token-service=2]
python -m deploy.local down
python -m deploy.local stop rabbitmq | start postgres
"""

import argparse
import os
import sys
from pathlib import Path

from deploy.local import environment
from deploy.local.plan import BadReplicas, parse_replicas
from deploy.local.postgres import NotInstalled
from deploy.local.stack import ROOT, Stack, StackFailed
from shared.environment import SettingsError

FOLDER = ROOT / ".run"


def main(arguments: list[str]) -> int:
    arguments_given = _parser().parse_args(arguments)
    try:
        match arguments_given.do:
            case "up":
                _up(arguments_given.replicas)
            case "down":
                Stack(FOLDER).stop()
                print("Stopped. The data stays in .run/.")
            case "stop":
                _running().stop_process(arguments_given.server)
            case "start":
                _running().start_process(arguments_given.server)
    except (StackFailed, BadReplicas, environment.ForeignZoho, NotInstalled) as error:
        print(f"zoho-relay: {error}", file=sys.stderr)
        return 1
    except SettingsError as error:
        for problem in error.problems:
            print(f"zoho-relay: {problem}", file=sys.stderr)
        return 2
    return 0


def _up(replicas: str) -> None:
    """The real Zoho when a .env names a client of it, else the sandbox."""
    env_file: Path | None = ROOT / ".env"
    if not (ROOT / ".env").exists() or not _names_a_client(ROOT / ".env"):
        env_file = None
    stack = Stack(
        FOLDER,
        replicas=parse_replicas(replicas),
        settings=_exported(),
        env_file=env_file,
        tied=False,
    )
    stack.start(timeout_s=180)
    where = "the sandbox" if env_file is None else "Zoho, by .env"
    print(f"Up, against {where}. Where everything is: .run/stack.env")
    for name in ("GATEWAY_URL", "SANDBOX_URL", "TOKEN_SERVICE_URLS", "METRICS_URLS", "LOG_DIR"):
        if name in stack.env:
            print(f"  {name}={stack.env[name]}")
    if standing := stack.standing():
        print(
            f"{', '.join(standing)} stand: the database may be older than its work."
            " `zoho-relay recover status` says why, docs/backup-and-recovery.md what to do."
        )


def _names_a_client(env_file: Path) -> bool:
    return "ZOHO_CLIENT_ID" in environment.read_env_file(env_file)


def _exported() -> dict[str, str]:
    """Settings that the shell exports: those that .env.example documents."""
    documented = (ROOT / ".env.example").read_text().splitlines()
    names = {line.lstrip("# ").partition("=")[0] for line in documented if "=" in line}
    return {name: value for name in names if (value := os.environ.get(name))}


def _running() -> Stack:
    stack = Stack(FOLDER)
    if not stack.env:
        raise StackFailed("no stack here; `make up` starts one")
    return stack


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy.local")
    commands = parser.add_subparsers(dest="do", required=True)
    up = commands.add_parser("up")
    up.add_argument("--replicas", default="")
    commands.add_parser("down")
    for name in ("stop", "start"):
        commands.add_parser(name).add_argument("server", choices=("rabbitmq", "postgres"))
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
