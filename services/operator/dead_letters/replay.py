"""Read dead letters of all services, and put them back into their lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from services.operator.repositories.schemas import migrated
from services.operator.settings import OpeningSettings
from shared.crypto.envelope import DataKeys, Vault
from shared.crypto.keyring import KeyRing
from shared.messaging.inbox.dead_letters import DeadLetter, DeadLetters
from shared.storage import pool as storage

_PAGE = 500


@dataclass(frozen=True)
class Selection:
    """Which dead letters. What is empty does not narrow it."""

    service: str | None = None
    code: str | None = None
    message_ids: frozenset[str] = frozenset()
    limit: int = 10_000

    def has(self, letter: DeadLetter) -> bool:
        return not self.message_ids or letter.message_id in self.message_ids


@dataclass(frozen=True)
class FoundLetter:
    service: str
    letter: DeadLetter


class ReplayResult(StrEnum):
    """What became of a dead letter."""

    REPLAYED = "replayed"
    WOULD_BE = "would be replayed"
    NEEDS_A_PERSON = "refused: look in Zoho whether it happened, then --i-know-what-happened"
    GONE = "not there any more"


@dataclass(frozen=True)
class Replayed:
    found: FoundLetter
    fate: ReplayResult


class AllDeadLetters:
    """The dead letters of every service that has its tables in this database."""

    def __init__(self, by_service: dict[str, DeadLetters]) -> None:
        self._by_service = by_service

    async def select(self, selection: Selection) -> list[FoundLetter]:
        """Those selected, by service, the oldest first."""
        found: list[FoundLetter] = []
        for service, letters in self._by_service.items():
            if selection.service not in (None, service):
                continue
            after = 0
            while page := await letters.page(code=selection.code, after=after, limit=_PAGE):
                after = page[-1].arrived
                found += [FoundLetter(service, each) for each in page if selection.has(each)]
                if len(found) >= selection.limit:
                    break
        return found[: selection.limit]

    async def open(self, found: FoundLetter) -> bytes:
        return await self._by_service[found.service].open(found.letter)

    async def replay(
        self, selection: Selection, *, knows_what_happened: bool, dry_run: bool, by: str
    ) -> list[Replayed]:
        """Put each of the selected at the end of its line again, its attempts forgotten."""
        done = []
        for found in await self.select(selection):
            fate = _first_look(found.letter, knows_what_happened, dry_run)
            if fate is ReplayResult.REPLAYED:
                letters = self._by_service[found.service]
                if not await letters.replay(found.letter.arrived, by=by):
                    fate = ReplayResult.GONE
            done.append(Replayed(found, fate))
        return done


@asynccontextmanager
async def all_dead_letters() -> AsyncIterator[AllDeadLetters]:
    settings = OpeningSettings.load()
    async with storage.connect(
        settings.database_url, size=2, application="zoho-relay", opened_within_s=5
    ) as pool:
        vault = Vault(DataKeys(pool, KeyRing.parse(settings.encryption_keys.get_secret_value())))
        yield AllDeadLetters(
            {
                service: DeadLetters(pool, schema, vault)
                for service, schema in (await _with_inbox(pool)).items()
            }
        )


async def _with_inbox(pool: asyncpg.Pool) -> dict[str, str]:
    return {name: schema for name, schema in (await migrated(pool)).items() if schema != "gateway"}


def _first_look(letter: DeadLetter, knows_what_happened: bool, dry_run: bool) -> ReplayResult:
    if needs_a_person(letter) and not knows_what_happened:
        return ReplayResult.NEEDS_A_PERSON
    return ReplayResult.WOULD_BE if dry_run else ReplayResult.REPLAYED


def needs_a_person(letter: DeadLetter) -> bool:
    """Money may have moved: only who has looked in Zoho may send it again.

    Even then nothing is charged blindly: the effects journal refuses until `effects resolve`.
    """
    return letter.code == "outcome_unknown"


def refused(done: Sequence[Replayed]) -> bool:
    """Whether one of them was not replayed, or nothing was selected."""
    return not done or any(
        replayed.fate in (ReplayResult.NEEDS_A_PERSON, ReplayResult.GONE) for replayed in done
    )
