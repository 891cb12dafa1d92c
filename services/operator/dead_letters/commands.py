"""`zoho-relay dead-letters …`"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace
from typing import Annotated

import orjson
import typer

from services.operator.access import broker as rabbitmq
from services.operator.console.output import TableRow, complain, moment, show, tell
from services.operator.dead_letters.dead_letter import DeadLetterMessage
from services.operator.dead_letters.replay import Replayed, ReplayResult, Selection, replay
from services.operator.settings import BrokerSettings, OpeningSettings
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.messages.outgoing_message import sealing_context
from shared.storage import pool as storage

app = typer.Typer(
    no_args_is_help=True,
    help="Messages that were given up: see them by cause, look at one, send them again.",
)

QueueOption = Annotated[
    str | None,
    typer.Option("--queue", help="Only of this work queue, such as billing-worker.commands."),
]
CodeOption = Annotated[
    str | None, typer.Option("--code", help="Only given up for this cause (docs/errors.md).")
]
LimitOption = Annotated[
    int, typer.Option("--limit", min=1, help="Messages read per queue, at most.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command("list")
def list_letters(
    queue: QueueOption = None,
    code: CodeOption = None,
    each: Annotated[bool, typer.Option("--each", help="Every message, not the groups.")] = False,
    limit: LimitOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """How many messages were given up, by queue and cause."""
    letters = asyncio.run(_read(Selection(_queues(queue), code, limit=limit)))
    rows = [_described(letter) for letter in letters] if each else _grouped(letters)
    show(rows, as_json=as_json, empty="No dead letters.")


@app.command("show")
def show_letter(
    message_id: Annotated[str, typer.Argument(help="The message_id of a dead letter.")],
    queue: QueueOption = None,
    reveal: Annotated[
        bool,
        typer.Option("--reveal", help="Open the body too. It holds personal data."),
    ] = False,
) -> None:
    """Why a message was given up, and where it came from. With --reveal, its body too."""
    selection = Selection(_queues(queue), message_ids=frozenset({message_id}))
    letters = asyncio.run(_read(selection, keep_bodies=True))
    if not letters:
        complain("No dead letter has this message_id.")
        raise typer.Exit(1)
    for letter in letters:
        for name, value in _described(letter).items():
            tell(f"{name.replace('_', ' '):<16} {value}")
        tell(f"{'correlation id':<16} {letter.correlation_id or ''}")
        tell(f"{'answers to':<16} {letter.reply_to or ''}")
        tell(f"{'body':<16} {_body(letter, reveal)}")


@app.command("replay")
def replay_letters(
    message_ids: Annotated[
        list[str] | None, typer.Argument(help="message_ids; or select by --queue, --code.")
    ] = None,
    queue: QueueOption = None,
    code: CodeOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All of them, when nothing else selects.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    knows: Annotated[
        bool,
        typer.Option(
            "--i-know-what-happened",
            help="Also those with the code outcome_unknown: money may have moved. Look in Zoho"
            " first, and settle what you saw with `zoho-relay effects resolve`.",
        ),
    ] = False,
    limit: LimitOption = 10_000,
) -> None:
    """Send messages again, to the queue they were given up in. Each is handled once.

    A message that fails again is given up again. Exits with 1 when one was refused or not taken,
    or when nothing was selected.
    """
    if not (message_ids or queue or code or everything):
        complain("Say which: message_ids, --queue, --code, or --all.")
        raise typer.Exit(2)
    selection = Selection(_queues(queue), code, frozenset(message_ids or ()), limit)
    done = asyncio.run(_replay(selection, knows=knows, dry_run=dry_run))
    show(_outcomes(done), as_json=False, empty="No dead letter was selected.")
    if not done or any(
        one.fate in (ReplayResult.NEEDS_A_PERSON, ReplayResult.NOT_TAKEN) for one in done
    ):
        raise typer.Exit(1)


def _queues(queue: str | None) -> list[str]:
    known = rabbitmq.work_queues()
    if queue is None:
        return known
    if queue.removesuffix(".dead") not in known:
        complain(f"There is no such queue. There are: {', '.join(known)}.")
        raise typer.Exit(2)
    return [queue.removesuffix(".dead")]


async def _read(selection: Selection, *, keep_bodies: bool = False) -> list[DeadLetterMessage]:
    found = []
    async with rabbitmq.connect(BrokerSettings.load().amqp_url) as broker:
        for queue in selection.queues:
            async for held in broker.dead_letters(queue, selection.limit):
                if selection.has(held.letter):
                    letter = held.letter
                    # Up to 2 MiB each: what is only counted is not kept.
                    found.append(letter if keep_bodies else replace(letter, body=b""))
    return found


async def _replay(selection: Selection, *, knows: bool, dry_run: bool) -> list[Replayed]:
    async with rabbitmq.connect(BrokerSettings.load().amqp_url) as broker:
        return await replay(broker, selection, knows_what_happened=knows, dry_run=dry_run)


def _described(letter: DeadLetterMessage) -> TableRow:
    return {
        "queue": letter.queue,
        "message_id": letter.message_id,
        "routing_key": letter.routing_key,
        "org": letter.org,
        "code": letter.code,
        "attempts": letter.attempts,
        "sent_at": moment(letter.sent_at),
        "given_up_at": moment(letter.given_up_at),
        "reason": letter.reason,
    }


def _grouped(letters: list[DeadLetterMessage]) -> list[TableRow]:
    groups: defaultdict[tuple[str, str], list[DeadLetterMessage]] = defaultdict(list)
    for letter in letters:
        groups[letter.queue, letter.code].append(letter)
    return [
        {
            "queue": queue,
            "code": code,
            "messages": len(group),
            "oldest": moment(
                min((one.given_up_at for one in group if one.given_up_at), default=None)
            ),
            "newest": moment(
                max((one.given_up_at for one in group if one.given_up_at), default=None)
            ),
            "for_example": group[0].reason,
        }
        for (queue, code), group in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _outcomes(done: list[Replayed]) -> list[TableRow]:
    return [
        {
            "queue": one.letter.queue,
            "message_id": one.letter.message_id,
            "routing_key": one.letter.routing_key,
            "code": one.letter.code,
            "fate": str(one.fate),
        }
        for one in done
    ]


def _body(letter: DeadLetterMessage, reveal: bool) -> str:
    if not reveal:
        return f"{len(letter.body)} bytes; --reveal opens it"
    body = asyncio.run(_opened(letter)) if letter.is_sealed else letter.body
    try:
        return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except ValueError:
        return repr(body)  # given up because it is not JSON


async def _opened(letter: DeadLetterMessage) -> bytes:
    settings = OpeningSettings.load()
    async with storage.connect(settings.database_url, size=2, opened_within_s=5) as pool:
        vault = Vault(DataKeys(pool, KeyRing.parse(settings.encryption_keys.get_secret_value())))
        return await vault.open_bytes(letter.body, sealing_context(letter.message_id))
