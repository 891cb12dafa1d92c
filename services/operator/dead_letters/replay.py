"""Select dead letters of all services, and replay or discard any number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import asyncpg

from services.operator.repositories.schemas import with_inbox
from services.operator.settings import StorageSettings
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.errors import IntegrationError
from shared.messaging.inbox.dead_letters import DeadLetter, DeadLetterCause, DeadLetters
from shared.storage import pool as storage

_BATCH: Final = 100

UNREADABLE: Final = frozenset({"sealed_value_invalid", "erased", "unknown_key"})
"""Under these a body cannot be opened, whatever the state of the database."""


@dataclass(frozen=True)
class Selection:
    """A selection of dead letters. An empty field does not narrow it.

    `until`: what was given up later is not selected. The age counts from then.
    """

    service: str | None = None
    code: str | None = None
    routing_key: str | None = None
    older_than_s: float | None = None
    message_ids: frozenset[str] = frozenset()
    until: datetime | None = None

    @property
    def is_everything(self) -> bool:
        return self == Selection()


@dataclass(frozen=True)
class ServiceDeadLetter:
    """A dead letter, and the service that gave it up."""

    service: str
    dead_letter: DeadLetter


@dataclass(frozen=True)
class ServiceCause:
    """How many messages a service gave up under one code."""

    service: str
    cause: DeadLetterCause


@dataclass(frozen=True)
class Page:
    """A page of dead letters. `more`: by service, the number behind which it goes on."""

    items: list[ServiceDeadLetter]
    more: dict[str, int]


class ReplayResult(StrEnum):
    """The result of replaying or discarding one dead letter."""

    REPLAYED = "replayed"
    WOULD_BE = "would be replayed"
    NEEDS_A_PERSON = "refused: look in Zoho whether it happened, then --i-know-what-happened"
    DISCARDED = "discarded"
    GONE = "not there any more"
    UNREADABLE = "unreadable: its body cannot be opened (`show --reveal` says why)"


_LEFT: Final = frozenset({ReplayResult.NEEDS_A_PERSON, ReplayResult.GONE, ReplayResult.UNREADABLE})


@dataclass
class Results:
    """The results so far, counted by service, code and result."""

    counts: Counter[tuple[str, str, ReplayResult]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, ReplayResult], str] = field(default_factory=dict)

    def add(self, service: str, code: str, result: ReplayResult, example: str, n: int = 1) -> None:
        key = (service, code, result)
        self.counts[key] += n
        self.examples.setdefault(key, example)

    @property
    def done(self) -> int:
        return self.counts.total()

    @property
    def refused(self) -> bool:
        """Whether one of them was not replayed or discarded, or nothing was selected."""
        return not self.counts or any(result in _LEFT for _, _, result in self.counts)


# Called after each batch, and with each one that could not be opened or was gone.
Progress = Callable[[Results], None]
Left = Callable[[ServiceDeadLetter, ReplayResult], None]


class AllDeadLetters:
    """The dead letters of every service that has its tables in this database."""

    def __init__(self, pool: asyncpg.Pool, by_service: dict[str, DeadLetters]) -> None:
        self._pool = pool
        self._by_service = by_service

    async def causes(self, selection: Selection) -> list[ServiceCause]:
        """Count all the selected ones by service and code, the most frequent first."""
        until = await self._given_up_until(selection)
        causes = [
            ServiceCause(service, cause)
            for service, dead_letters in self._selected(selection)
            for cause in await dead_letters.causes(**_filters(selection, until))
        ]
        return sorted(causes, key=lambda each: -each.cause.messages)

    async def page(self, selection: Selection, *, after: int = 0, limit: int) -> Page:
        """The selected ones of each service, the oldest first, at most `limit` of each."""
        until = await self._given_up_until(selection)
        items: list[ServiceDeadLetter] = []
        more: dict[str, int] = {}
        for service, dead_letters in self._selected(selection):
            found = await dead_letters.page(
                after=after, limit=limit + 1, **_filters(selection, until)
            )
            items += [ServiceDeadLetter(service, each) for each in found[:limit]]
            if len(found) > limit:
                more[service] = found[limit - 1].arrived
        return Page(items, more)

    async def each(self, selection: Selection) -> AsyncIterator[list[ServiceDeadLetter]]:
        """Any number of them, in batches. What is given up meanwhile is not among them."""
        until = await self._given_up_until(selection) or await self.now()
        for service, dead_letters in self._selected(selection):
            after = 0
            while batch := await dead_letters.page(
                after=after, limit=_BATCH, **_filters(selection, until)
            ):
                after = batch[-1].arrived
                yield [ServiceDeadLetter(service, each) for each in batch]

    async def open(self, selected: ServiceDeadLetter) -> bytes:
        """Open the body. Raises Unavailable when its key is not in the ring."""
        return await self._by_service[selected.service].open(selected.dead_letter)

    async def would_replay(self, selection: Selection, *, confirmed: bool) -> Results:
        """What a replay would do."""
        results = Results()
        for each in await self.causes(selection):
            refused = needs_a_person(each.cause.code) and not confirmed
            results.add(
                each.service,
                each.cause.code,
                ReplayResult.NEEDS_A_PERSON if refused else ReplayResult.WOULD_BE,
                each.cause.for_example,
                each.cause.messages,
            )
        return results

    async def replay(
        self, selection: Selection, *, confirmed: bool, by: str, progress: Progress, left: Left
    ) -> Results:
        """Put each selected one at the end of its line again, with all its attempts.

        Each in a transaction of its own, so that it may be interrupted and run again. `confirmed`:
        a person has looked in Zoho for what may have happened. `by` is stored.
        """

        async def replay(selected: ServiceDeadLetter) -> ReplayResult:
            if needs_a_person(selected.dead_letter.code) and not confirmed:
                return ReplayResult.NEEDS_A_PERSON
            return await self._replay(selected, by)

        return await self._do(selection, replay, progress, left)

    async def _replay(self, selected: ServiceDeadLetter, by: str) -> ReplayResult:
        """One that cannot be opened stays, and stops none of the others."""
        dead_letters = self._by_service[selected.service]
        try:
            replayed = await dead_letters.replay(selected.dead_letter.arrived, by=by)
        except IntegrationError as error:
            if error.code not in UNREADABLE:
                raise
            return ReplayResult.UNREADABLE
        return ReplayResult.REPLAYED if replayed else ReplayResult.GONE

    async def discard(
        self, selection: Selection, *, by: str, progress: Progress, left: Left
    ) -> Results:
        """Delete the bodies of the selected ones. `by` and the time are kept."""

        async def discard(selected: ServiceDeadLetter) -> ReplayResult:
            dead_letters = self._by_service[selected.service]
            discarded = await dead_letters.discard(selected.dead_letter.arrived, by=by)
            return ReplayResult.DISCARDED if discarded else ReplayResult.GONE

        return await self._do(selection, discard, progress, left)

    async def _do(
        self,
        selection: Selection,
        act: Callable[[ServiceDeadLetter], Awaitable[ReplayResult]],
        progress: Progress,
        left: Left,
    ) -> Results:
        results = Results()
        async for batch in self.each(selection):
            for selected in batch:
                result = await act(selected)
                letter = selected.dead_letter
                results.add(selected.service, letter.code, result, letter.message_id)
                if result in (ReplayResult.GONE, ReplayResult.UNREADABLE):
                    left(selected, result)
            progress(results)
        return results

    def _selected(self, selection: Selection) -> list[tuple[str, DeadLetters]]:
        return [
            (service, dead_letters)
            for service, dead_letters in self._by_service.items()
            if selection.service in (None, service)
        ]

    async def _given_up_until(self, selection: Selection) -> datetime | None:
        if selection.older_than_s is None:
            return selection.until
        until = selection.until or await self.now()
        return until - timedelta(seconds=selection.older_than_s)

    async def now(self) -> datetime:
        """By the database's clock."""
        now: datetime = await self._pool.fetchval("SELECT clock_timestamp()")
        return now


@asynccontextmanager
async def all_dead_letters() -> AsyncIterator[AllDeadLetters]:
    """Connect to the database, with the keys that open bodies."""
    settings = StorageSettings.load()
    async with storage.connect(
        settings.database_url, size=2, application="zoho-relay", opened_within_s=5
    ) as pool:
        vault = Vault(DataKeys(pool, KeyRing.parse(settings.encryption_keys.get_secret_value())))
        yield AllDeadLetters(
            pool,
            {
                service: DeadLetters(pool, schema, vault)
                for service, schema in (await with_inbox(pool)).items()
            },
        )


def needs_a_person(code: str) -> bool:
    """Whether money may have moved, so that somebody has to look in Zoho before a replay.

    Even then nothing is charged blindly: the effects journal refuses until `effects resolve`.
    """
    return code == "outcome_unknown"


def _filters(selection: Selection, given_up_until: datetime | None) -> dict[str, Any]:
    return {
        "code": selection.code,
        "routing_key": selection.routing_key,
        "message_ids": selection.message_ids or None,
        "given_up_until": given_up_until,
    }
