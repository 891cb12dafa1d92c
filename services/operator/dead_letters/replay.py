"""Select dead letters of all services, open them, and put them back into their lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.operator.repositories.schemas import with_inbox
from services.operator.settings import StorageSettings
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.errors import IntegrationError
from shared.messaging.inbox.dead_letters import DeadLetter, DeadLetters
from shared.storage import pool as storage

_PAGE = 500

UNREADABLE: Final = frozenset({"sealed_value_invalid", "erased", "unknown_key"})
"""Under these a body cannot be opened, whatever the state of the database."""


@dataclass(frozen=True)
class Selection:
    """A selection of dead letters. An empty field does not narrow it."""

    service: str | None = None
    code: str | None = None
    message_ids: frozenset[str] = frozenset()
    limit: int = 10_000

    def has(self, dead_letter: DeadLetter) -> bool:
        return not self.message_ids or dead_letter.message_id in self.message_ids


@dataclass(frozen=True)
class ServiceDeadLetter:
    """A dead letter, and the service that gave it up."""

    service: str
    dead_letter: DeadLetter


class ReplayResult(StrEnum):
    """The result of replaying or discarding one dead letter."""

    REPLAYED = "replayed"
    WOULD_BE = "would be replayed"
    NEEDS_A_PERSON = "refused: look in Zoho whether it happened, then --i-know-what-happened"
    DISCARDED = "discarded"
    GONE = "not there any more"
    UNREADABLE = "unreadable: its body cannot be opened (`show --reveal` says why)"


@dataclass(frozen=True)
class Replayed:
    selected: ServiceDeadLetter
    result: ReplayResult


class AllDeadLetters:
    """The dead letters of every service that has its tables in this database."""

    def __init__(self, by_service: dict[str, DeadLetters]) -> None:
        self._by_service = by_service

    async def select(self, selection: Selection) -> list[ServiceDeadLetter]:
        """Return the selected ones, by service, the oldest first."""
        selected: list[ServiceDeadLetter] = []
        for service, dead_letters in self._by_service.items():
            if selection.service not in (None, service):
                continue
            after = 0
            while page := await dead_letters.page(code=selection.code, after=after, limit=_PAGE):
                after = page[-1].arrived
                selected += [
                    ServiceDeadLetter(service, dead_letter)
                    for dead_letter in page
                    if selection.has(dead_letter)
                ]
                if len(selected) >= selection.limit:
                    break
        return selected[: selection.limit]

    async def open(self, selected: ServiceDeadLetter) -> bytes:
        """Open the body. Raises Unavailable when its key is not in the ring."""
        return await self._by_service[selected.service].open(selected.dead_letter)

    async def replay(
        self, selection: Selection, *, confirmed: bool, dry_run: bool, by: str
    ) -> list[Replayed]:
        """Put each selected one at the end of its line again, with all its attempts.

        `confirmed`: a person has looked in Zoho for what may have happened. `by` is stored.
        """
        done = []
        for selected in await self.select(selection):
            result = _check(selected.dead_letter, confirmed=confirmed, dry_run=dry_run)
            if result is ReplayResult.REPLAYED:
                result = await self._replay(selected, by)
            done.append(Replayed(selected, result))
        return done

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

    async def discard(self, selection: Selection, *, by: str) -> list[Replayed]:
        """Delete the bodies of the selected ones. `by` and the time are kept."""
        done = []
        for selected in await self.select(selection):
            dead_letters = self._by_service[selected.service]
            discarded = await dead_letters.discard(selected.dead_letter.arrived, by=by)
            result = ReplayResult.DISCARDED if discarded else ReplayResult.GONE
            done.append(Replayed(selected, result))
        return done


@asynccontextmanager
async def all_dead_letters() -> AsyncIterator[AllDeadLetters]:
    """Connect to the database, with the keys that open bodies."""
    settings = StorageSettings.load()
    async with storage.connect(
        settings.database_url, size=2, application="zoho-relay", opened_within_s=5
    ) as pool:
        vault = Vault(DataKeys(pool, KeyRing.parse(settings.encryption_keys.get_secret_value())))
        yield AllDeadLetters(
            {
                service: DeadLetters(pool, schema, vault)
                for service, schema in (await with_inbox(pool)).items()
            }
        )


def _check(dead_letter: DeadLetter, *, confirmed: bool, dry_run: bool) -> ReplayResult:
    if needs_a_person(dead_letter) and not confirmed:
        return ReplayResult.NEEDS_A_PERSON
    return ReplayResult.WOULD_BE if dry_run else ReplayResult.REPLAYED


def needs_a_person(dead_letter: DeadLetter) -> bool:
    """Whether money may have moved, so that somebody has to look in Zoho before a replay.

    Even then nothing is charged blindly: the effects journal refuses until `effects resolve`.
    """
    return dead_letter.code == "outcome_unknown"


def refused(done: Sequence[Replayed]) -> bool:
    """Whether one of them was not replayed, or nothing was selected."""
    left = (ReplayResult.NEEDS_A_PERSON, ReplayResult.GONE, ReplayResult.UNREADABLE)
    return not done or any(replayed.result in left for replayed in done)
