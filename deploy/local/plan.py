"""From what is wished for to what has to run: ports, secrets, environment and processes."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import credentials, environment, postgres, rabbitmq
from deploy.local.ports import Ports
from deploy.local.processes import AFTER_TOKENS, SANDBOX, TOKENS, ProcessSpec

SERVICES: Mapping[str, Sequence[str]] = {
    name: ("-m", f"services.{name.replace('-', '_')}")
    for name in ("token-service", "webhook-gateway", "billing-worker", "crm-worker", "desk-worker")
}
# The stack's own. A .env has no say in them, neither under these names nor as <SERVICE>_<NAME>.
_OWN = ("AMQP_URL", "DATABASE_URL", "METRICS_PORT", "TOKEN_SERVICE_URL", "ZOHO_RELAY_ENV_FILE")


class BadReplicas(Exception):
    """REPLICAS names no service, or no number."""


@dataclass(frozen=True)
class StackRequest:
    """The arguments of `Stack`. Its docstring says what they mean."""

    root: Path
    folder: Path
    replicas: Mapping[str, int]
    services: Mapping[str, Sequence[str]]
    sandbox: bool
    durable: bool
    settings: Mapping[str, str]
    env_file: Path | None
    amqp_url: str | None
    database_url: str | None

    def count(self, service: str) -> int:
        return self.replicas.get(service, 1)


@dataclass
class StackPlan:
    """`env` goes to stack.env, `settings` to settings.env, `targets` to the sandbox."""

    specs: list[ProcessSpec] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    targets: dict[str, dict[str, str]] | None = None


def make_plan(wish: StackRequest, *, running: bool) -> StackPlan:
    """Prepare the folder (servers' data, secrets, ports) and say what has to run.

    `running`: the stack runs already, so the ports that are taken are its own.
    Raises BadReplicas, NotInstalled, ForeignZoho.
    """
    _check_replicas(wish)
    secrets = credentials.load_or_make(wish.folder / "secrets.json")
    ports = Ports(wish.folder / "ports.json", in_use=running)
    plan = StackPlan()
    _add_servers(plan, wish, ports, secrets)
    _add_settings(plan, wish, ports, secrets)
    if wish.sandbox:
        environment.refuse_foreign_zoho(plan.settings, plan.env["SANDBOX_URL"])
        plan.specs.append(_sandbox(wish, ports, plan.settings))
    plan.specs.extend(_services(wish, ports, plan.settings))
    _add_places(plan, wish, ports)
    return plan


def parse_replicas(text: str) -> dict[str, int]:
    """`billing-worker=2,token-service=2`. Raises BadReplicas."""
    counts = {}
    for part in filter(None, text.replace(" ", ",").split(",")):
        name, _, number = part.partition("=")
        if not number.isascii() or not number.isdigit():
            raise BadReplicas(f"REPLICAS: {part!r} is not <service>=<number>")
        counts[name] = int(number)
    return counts


def _check_replicas(wish: StackRequest) -> None:
    if unknown := sorted(wish.replicas.keys() - wish.services.keys()):
        known = ", ".join(wish.services)
        raise BadReplicas(f"REPLICAS: no service is called {unknown[0]!r}; there are {known}")


def _add_servers(
    plan: StackPlan, wish: StackRequest, ports: Ports, secrets: Mapping[str, str]
) -> None:
    env = plan.env
    if wish.amqp_url is None:
        spec, data = rabbitmq.prepare(wish.folder, ports, secrets)
        plan.specs.append(spec)
        user = f"{rabbitmq.USER}:{secrets['amqp_password']}@127.0.0.1"
        env["AMQP_URL"] = f"amqp://{user}:{ports.of('rabbitmq.amqp')}/"
        env["RABBITMQ_API_URL"] = f"http://{user}:{ports.of('rabbitmq.api')}"
        env["RABBITMQ_DATA"] = str(data)
    else:
        env["AMQP_URL"] = wish.amqp_url
    if wish.database_url is None:
        port = ports.of("postgres")
        spec, data = postgres.prepare(wish.folder, port, secrets, durable=wish.durable)
        plan.specs.append(spec)
        place = f"127.0.0.1:{port}"
        relay = f"{postgres.ROLE}:{secrets['database_password']}"
        env["DATABASE_URL"] = f"postgresql://{relay}@{place}/{postgres.DATABASE}"
        env["POSTGRES_URL"] = (
            f"postgresql://postgres:{secrets['postgres_password']}@{place}/postgres"
        )
        env["POSTGRES_DATA"] = str(data)
    else:
        env["DATABASE_URL"] = wish.database_url


def _add_settings(
    plan: StackPlan, wish: StackRequest, ports: Ports, secrets: Mapping[str, str]
) -> None:
    """Later ones win: generated, the sandbox's, what the caller asks for, the stack's own."""
    generated = {name: value for name, value in secrets.items() if name.isupper()}
    if wish.sandbox:
        plan.env["SANDBOX_URL"] = sandbox_url = f"http://127.0.0.1:{ports.of('zoho-sandbox')}"
        generated |= environment.zoho_settings(sandbox_url)
        if "webhook-gateway" in wish.services:
            port = _http_port(wish, ports, "webhook-gateway", 1)
            generated["GATEWAY_URL"] = f"http://127.0.0.1:{port}"
    env_file_settings: Mapping[str, str] = {}
    if wish.env_file is not None:
        env_file_settings = environment.read_env_file(wish.env_file)
        generated = {name: text for name, text in generated.items() if not name.startswith("ZOHO_")}
    chosen = {**generated, **env_file_settings, **wish.settings}
    token_urls = _urls(wish, ports, "token-service", "http", "")
    plan.settings = {
        **{name: value for name, value in chosen.items() if not name.endswith(_OWN)},
        "AMQP_URL": plan.env["AMQP_URL"],
        "DATABASE_URL": plan.env["DATABASE_URL"],
        "TOKEN_SERVICE_URL": ",".join(token_urls),
        # Everything is in the environment already: no service looks into a .env by itself.
        "ZOHO_RELAY_ENV_FILE": "",
    }


def _sandbox(wish: StackRequest, ports: Ports, settings: Mapping[str, str]) -> ProcessSpec:
    port = ports.of("zoho-sandbox")
    state = wish.folder / "sandbox"
    state.mkdir(mode=0o700, exist_ok=True)
    own = environment.sandbox_settings(settings, port, state / "state.json")
    return ProcessSpec(
        name="zoho-sandbox.1",
        argv=[sys.executable, "-m", "services.zoho_sandbox"],
        env={**environment.base(), "PYTHONPATH": str(wish.root), **own},
        stage=SANDBOX,
        ready=f"http://127.0.0.1:{port}/_sandbox/state",
        cwd=str(wish.folder),
        stop_timeout_s=10,
    )


def _services(
    wish: StackRequest, ports: Ports, settings: Mapping[str, str]
) -> Iterator[ProcessSpec]:
    for service, arguments in wish.services.items():
        own = environment.of_service(service, settings)
        own.pop("HTTP_PORT", None)  # each process has a port of its own
        for n in range(1, wish.count(service) + 1):
            metrics = ports.of(f"{service}.{n}.metrics")
            yield ProcessSpec(
                name=f"{service}.{n}",
                argv=[sys.executable, *arguments],
                env={
                    **environment.base(),
                    "PYTHONPATH": str(wish.root),
                    **own,
                    "METRICS_PORT": str(metrics),
                    "HTTP_PORT": str(_http_port(wish, ports, service, n)),
                },
                stage=TOKENS if service == "token-service" else AFTER_TOKENS,
                ready=f"http://127.0.0.1:{metrics}/readyz",
                # Not the checkout: a .env that lies there is out of reach even by mistake.
                cwd=str(wish.folder),
            )


def _http_port(wish: StackRequest, ports: Ports, service: str, n: int) -> int:
    """The first gateway of a system for the real Zoho listens where its .env says."""
    if wish.env_file is not None and (service, n) == ("webhook-gateway", 1):
        chosen = {**environment.read_env_file(wish.env_file), **wish.settings}.get("HTTP_PORT")
        if chosen:
            return int(chosen)
    return ports.of(f"{service}.{n}.http")


def _add_places(plan: StackPlan, wish: StackRequest, ports: Ports) -> None:
    gateways = [
        f"http://127.0.0.1:{_http_port(wish, ports, 'webhook-gateway', n)}"
        for n in range(1, wish.count("webhook-gateway") + 1)
        if "webhook-gateway" in wish.services
    ]
    metrics = [
        url for name in wish.services for url in _urls(wish, ports, name, "metrics", "/metrics")
    ]
    plan.env |= {
        "GATEWAY_URL": gateways[0] if gateways else "",
        "TOKEN_SERVICE_URLS": plan.settings["TOKEN_SERVICE_URL"],
        "METRICS_URLS": ",".join(metrics),
        "LOG_DIR": str(wish.folder / "logs"),
    }
    plan.settings["METRICS_URLS"] = plan.env["METRICS_URLS"]  # for `zoho-relay`
    if wish.sandbox and gateways:
        plan.targets = environment.webhook_targets(gateways[0], plan.settings)


def _urls(wish: StackRequest, ports: Ports, service: str, port: str, path: str) -> list[str]:
    if service not in wish.services:
        return []
    numbers = range(1, wish.count(service) + 1)
    return [f"http://127.0.0.1:{ports.of(f'{service}.{n}.{port}')}{path}" for n in numbers]
