"""Record what the next version has to keep of this one: its migrations and its queues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import AsyncMock, MagicMock

from pydantic import SecretStr

from services.billing_worker import app as billing
from services.crm_worker import app as crm
from services.desk_worker import app as desk
from services.token_service import app as token
from services.webhook_gateway import app as gateway
from services.webhook_gateway.repositories.webhooks import SCHEMA as GATEWAY_SCHEMA
from shared.messaging.broker.mark_queue import MarkQueue
from shared.messaging.broker.topology import Topology
from shared.messaging.handling.routes import Routes
from shared.storage.migrations.files import folders_of

FOLDER: Final = Path(__file__).parent
_MIGRATIONS: Final = {
    billing.SCHEMA: billing.MIGRATIONS,
    crm.SCHEMA: crm.MIGRATIONS,
    desk.SCHEMA: desk.MIGRATIONS,
    GATEWAY_SCHEMA: gateway.MIGRATIONS,
    "token": Path(token.__file__).parent / "migrations",
}

Checksums = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class ReleaseRecord:
    """`migrations`: folder → file → checksum, in the order in which they are applied.

    `queues`: name → the arguments with which it is declared.
    """

    migrations: Checksums
    queues: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, file: Path) -> ReleaseRecord:
        return cls(**json.loads(file.read_text()))

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self), indent=2) + "\n")


def records() -> list[Path]:
    """The records of all versions."""
    return sorted(FOLDER.glob("*.json"))


async def present() -> ReleaseRecord:
    """Record the code as it is."""
    return ReleaseRecord(_migrations(), await _queues())


def broken(before: ReleaseRecord, now: ReleaseRecord) -> Iterator[str]:
    """Yield what a database or a broker of the version before would not survive."""
    for folder, files in before.migrations.items():
        present_files = now.migrations.get(folder, {})
        for name, checksum in files.items():
            if name not in present_files:
                yield f"{folder}/{name} is gone: a database that has it cannot be continued"
            elif present_files[name] != checksum:
                yield f"{folder}/{name} was edited: put the change into a new file"
        for name in present_files.keys() - files.keys():
            if files and name < max(files):
                yield f"{folder}/{name} comes before {max(files)}, which was released"
    for name, arguments in before.queues.items():
        if name not in now.queues:
            yield f"the queue {name} is gone: nobody would read what is in it"
        elif now.queues[name] != arguments:
            yield f"the queue {name} has other arguments: it needs a new name"


def _migrations() -> Checksums:
    found = {}
    for schema, own in _MIGRATIONS.items():
        for folder in folders_of(schema, own):
            name = folder.name.removeprefix(f"{schema}/")
            found[name] = {file.name: file.checksum.hex() for file in folder.migrations}
    return found


async def _queues() -> dict[str, dict[str, Any]]:
    parts, settings = MagicMock(), MagicMock()
    channel = AsyncMock()
    channel.__aenter__.return_value = channel
    connection = MagicMock()
    connection.channel.return_value = channel
    for service, routes in (
        ("webhook-gateway", Routes()),
        (billing.SERVICE, billing.HandlerParts.of(parts, settings).routes(MagicMock())),
        (crm.SERVICE, crm.routes(parts, MagicMock(), MagicMock())),
        (desk.SERVICE, desk.routes(parts, desk.desk_parts(parts, settings), MagicMock())),
    ):
        await Topology(service, routes).declare(connection)
        if routes.commands:
            await MarkQueue(service, SecretStr("amqp://localhost")).declare(connection)
    return {
        call.args[0]: {"durable": call.kwargs["durable"], **call.kwargs["arguments"]}
        for call in channel.declare_queue.await_args_list
    }
