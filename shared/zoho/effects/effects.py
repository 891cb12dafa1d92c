"""Do once what Zoho would do twice when asked twice: make a customer, charge a card.

Zoho Billing has no idempotency keys, so a journal takes their place:

    take a token and a permit → commit the intent, with the last moment at which the request may be
    written → act → commit the result, sealed

A lost answer or a killed process leaves the intent. Nobody looks at Zoho until that last moment,
the request's timeout and the operation's search lag have passed: earlier, what was made might not
show yet. Then `find` looks for it. Only when it is absent may one replica act again. Acting again
needs the intent's number, which changes each time, so that a second replica fails. For an effect
that moves money, "not found" is not enough: the first try must be proven to have failed.
Why so: docs/decisions/0072-the-effects-journal.md.

After a restore the journal has forgotten what was done since the backup. Then what it does not know
is presumed to have been done, and its answer lost: docs/decisions/0105-recovery-after-a-restore.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, TypeVar

import asyncpg
import orjson

from shared.crypto.envelope import DayKey, UserKey, Vault
from shared.errors import (
    Misconfigured,
    OutcomeUnknown,
    PermanentError,
    Postponed,
    Unavailable,
)
from shared.observability.metrics import Metrics
from shared.storage.clock import DatabaseClock, database_clock
from shared.storage.recoveries import Recoveries
from shared.zoho.call.http import Operation, Permit, ZohoHttp
from shared.zoho.call.observers import counting_calls
from shared.zoho.effects.journal import EffectKey, EffectsJournal, EffectState, JournalEntry
from shared.zoho.effects.presumptions import Presumptions
from shared.zoho.effects.work_mark import NoWorkMark, WorkMark
from shared.zoho.products.client import ProductClient

__all__ = ["Absence", "Effect", "EffectKey", "EffectResult", "Effects"]

# After these errors the effect is surely not done: nothing was written, or Zoho refused.
_SURELY_NOT_DONE: Final = (Postponed, Unavailable, Misconfigured, PermanentError)

EffectResult = dict[str, Any]


class Absence(Enum):
    """The answer of `find` that proves that the first try failed (the bank declined a charge).

    Plain `None` means "not found". That is enough to create again, but not to charge again.
    """

    PROVEN = "proven"


ClientT = TypeVar("ClientT", bound=ProductClient[Any])


class Effect(ABC, Generic[ClientT]):
    """One write that Zoho would do twice when asked twice: how it is made, and how it is found.

    Results hold what must be remembered (JSON types). They may hold ids of Zoho's, because the
    journal seals results. `zoho` is the client whose organization and priority the calls have.
    """

    zoho: ClientT

    async def prepare(self) -> EffectResult | None:
        """Get ready to act, before any quota is taken.

        Returns None when `act` is to make it. A result means that it exists already, made by
        others: the result is remembered, and `act` is not called.
        """
        return None

    @abstractmethod
    async def act(self, zoho: ClientT) -> EffectResult:
        """Make it, through a client that holds the permit for one call."""

    @abstractmethod
    async def find(self) -> EffectResult | Absence | None:
        """Look for what an unanswered act may have made, comparing for equality."""

    def stands(self, result: EffectResult) -> bool:
        """Whether a stored result still answers this request. Otherwise it is made anew.

        A charge that the bank declined was carried out, and a later command may try once more.
        """
        return True


@dataclass(frozen=True)
class MadeEffect:
    """What was made for a user. `result` is None while nobody knows whether it was."""

    operation: str
    business_id: str
    result: EffectResult | None


class Effects:
    """Performs effects by the journal. One per process. Safe for any number of replicas.

    `write_s`: how long after its intent a request may still be written. `timeout_s`: the longest
    time Zoho may work on it after that, not less than any operation's request timeout.
    `search_lag_factor` multiplies the operations' search lags. `work_mark`: by it a restore of the
    database is noticed before anything is asked of Zoho.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        vault: Vault,
        http: ZohoHttp,
        metrics: Metrics,
        *,
        write_s: float = 5.0,
        timeout_s: float = 20.0,
        search_lag_factor: float = 1.0,
        work_mark: WorkMark | None = None,
        clock: DatabaseClock = database_clock,
    ) -> None:
        self._journal = EffectsJournal(pool, clock)
        self._vault = vault
        self._http = http
        self._metrics = metrics
        self._write_s = write_s
        self._timeout_s = timeout_s
        self._search_lag_factor = search_lag_factor
        self._work_mark = work_mark or NoWorkMark()
        self._presumptions = Presumptions(self._journal, Recoveries(pool, clock))

    async def perform(
        self,
        operation: Operation,
        business_id: str,
        owner: UserKey | DayKey,
        effect: Effect[ClientT],
    ) -> EffectResult:
        """Make it once and return its result. Later calls return the stored result.

        `business_id` is the application's id of what is made. The result is sealed under
        `owner`'s key.

        Raises:
            OutcomeUnknown: it may have been done. Come back after `search_lag_s` and look.
            PermanentError(code="id_taken"): it was, or may have been, done for another user.
            PermanentError(code="outcome_unknown"): money may have moved, and `find` was refused, or
                neither found the payment nor proved that the first try failed. It is never done
                again.
            and what `act` raises: Postponed, Unavailable, Misconfigured and PermanentError mean
            that it was surely not done, and close the intent.
        """
        key = EffectKey(owner.org, operation.name, business_id)
        while True:
            entry = await self._journal.entry(key)
            if entry is not None and entry.is_anothers(_user_of(owner)):
                # The stored result would give this user what belongs to the other.
                raise PermanentError("this id is already another user's", code="id_taken")
            is_open = entry is not None and entry.state is EffectState.INTENDED
            if is_open and await self._presume(operation, key, entry, owner):
                continue
            known = await self._known_result(operation, key, entry, owner, effect)
            if known is not None:
                return known
            if not is_open and await self._presume(operation, key, entry, owner):
                continue
            made = await self._make(operation, key, entry, owner, effect)
            if made is not None:
                return made
            # Another replica has committed an intent first: start over and read its entry.

    async def knows(self, key: EffectKey) -> bool:
        """Whether it was ever begun. If so, what Zoho reports of it was made by us."""
        return await self._journal.entry(key) is not None

    async def may_be_done(self, key: EffectKey, effect: Effect[ClientT] | None = None) -> bool:
        """Whether it was done or may have been. False when every try was surely refused.

        Nor does a stored result count that does not stand for `effect`.
        """
        entry = await self._journal.entry(key)
        if entry is None or entry.state is EffectState.CLEAR:
            return False
        if effect is None or entry.state is not EffectState.DONE:
            return True
        return effect.stands(await self._open(key, entry))

    async def is_presumed(self, key: EffectKey) -> bool:
        """Whether it may have been done before a restore, and nobody has looked yet."""
        return await self._presumptions.hold_for(await self._journal.entry(key))

    async def begun_at(self, key: EffectKey) -> datetime | None:
        """Return when it was first intended, or None. Nothing that it made is older than that."""
        return await self._journal.begun_at(key)

    async def intended_at(self, key: EffectKey) -> datetime | None:
        """Return when the last try was intended, by PostgreSQL's clock. None without a try.

        Records of Zoho's that are older prove nothing about this try.
        """
        return await self._journal.intended_at(key)

    async def any_open(self, org: str, product: str | None = None) -> bool:
        """Whether something of this organization may have been made that we do not know of yet.

        An intent that nobody has looked for within an hour of when that was allowed does not count.
        Its message was given up, and those who wait for it would wait without end.
        """
        return await self._journal.any_open(org, product)

    async def made_for(self, user: UserKey, product: str) -> list[MadeEffect]:
        """Return what was, or may have been, made for a user in a product. What was not, is not."""
        return [
            MadeEffect(
                entry.key.operation,
                entry.key.business_id,
                None if entry.result is None else await self._opened(entry.key, entry.result),
            )
            for entry in await self._journal.of_owner(user.org, user.user_id, product)
        ]

    async def _make(
        self,
        operation: Operation,
        key: EffectKey,
        entry: JournalEntry | None,
        owner: UserKey | DayKey,
        effect: Effect[ClientT],
    ) -> EffectResult | None:
        """Make it under an intent of ours. None when the entry has changed meanwhile."""
        existing = await effect.prepare()
        look_s = self._look_s(operation)
        call = operation.call(key.org, effect.zoho.priority, timeout_s=self._timeout_s)
        async with self._http.permit(call) as permit:
            # Set before the commit, so that this process's time to write ends before the intent's
            # time in PostgreSQL does.
            permit.write_within(self._write_s)
            floor = self._work_mark.floor()
            intent = await self._journal.intend(
                key,
                product=operation.product,
                owner=_user_of(owner),
                after=entry,
                write_s=self._write_s,
                look_s=look_s,
                schema=self._work_mark.schema,
            )
            if intent is None:
                return None
            result = existing
            if result is None:
                confirmed = self._work_mark.confirm(intent.mark, floor)
                result = await self._act(key, intent.number, effect, permit, look_s, confirmed)
            return await self._remember(key, intent.number, result, owner)

    async def _presume(
        self,
        operation: Operation,
        key: EffectKey,
        entry: JournalEntry | None,
        owner: UserKey | DayKey,
    ) -> bool:
        """Whether the entry has become one of what may have been done before a restore."""
        look_s = self._write_s + self._look_s(operation)
        user = _user_of(owner)
        return await self._presumptions.presume(operation, key, entry, user, look_s=look_s)

    async def _known_result(
        self,
        operation: Operation,
        key: EffectKey,
        entry: JournalEntry | None,
        owner: UserKey | DayKey,
        effect: Effect[ClientT],
    ) -> EffectResult | None:
        """Return the result that is stored or found. None when it is right to act."""
        if entry is None or entry.state is EffectState.CLEAR:
            return None
        if entry.state is EffectState.UNKNOWN:
            raise _unknown(key)
        if entry.state is EffectState.DONE:
            stored = await self._open(key, entry)
            return stored if effect.stands(stored) else None
        if entry.look_in_s > 0:
            raise OutcomeUnknown(
                f"{key.operation} was begun and has not been answered",
                search_lag_s=entry.look_in_s,
            )
        found = await self._look(operation, key, entry, effect)
        if isinstance(found, dict):
            self._count(key, "yes")
            return await self._remember(key, entry.number, found, owner)
        if operation.moves_money and found is not Absence.PROVEN:
            self._count(key, "unknown")
            await self._journal.give_up(key, entry.number)
            raise _unknown(key)
        self._count(key, "no")
        return None

    async def _look(
        self, operation: Operation, key: EffectKey, entry: JournalEntry, effect: Effect[ClientT]
    ) -> EffectResult | Absence | None:
        found: EffectResult | Absence | None = None
        with counting_calls() as calls:
            try:
                found = await effect.find()
            except PermanentError:
                if not operation.moves_money:
                    raise
                # A refused look proves nothing about the first try.
            finally:
                if entry.presumed:
                    await self._journal.looked(
                        key, entry.number, calls.count, found=isinstance(found, dict)
                    )
        return found

    def _look_s(self, operation: Operation) -> float:
        """How long after the last moment to write nobody looks."""
        return self._timeout_s + operation.search_lag_s * self._search_lag_factor

    async def _act(
        self,
        key: EffectKey,
        number: int,
        effect: Effect[ClientT],
        permit: Permit,
        look_s: float,
        confirmed: Awaitable[None],
    ) -> EffectResult:
        try:
            await confirmed
            return await effect.act(effect.zoho.holding(permit))
        except _SURELY_NOT_DONE:
            await self._journal.clear(key, number)
            raise
        except OutcomeUnknown as error:
            await self._journal.unanswered(key, number, look_s)
            raise OutcomeUnknown(error.reason, search_lag_s=look_s) from error
        # Anything else (killed, cancelled, an answer we cannot read) leaves the intent: look later.

    async def _remember(
        self, key: EffectKey, number: int, result: EffectResult, owner: UserKey | DayKey
    ) -> EffectResult:
        sealed = await self._vault.seal_bytes(owner, orjson.dumps(result), key.context)
        if await self._journal.done(key, number, sealed):
            return result
        # This process was so late that another one has looked. The result found there counts.
        entry = await self._journal.entry(key)
        if entry is not None and entry.state is EffectState.DONE:
            return await self._open(key, entry)
        raise OutcomeUnknown(
            f"{key.operation} was taken over by another", search_lag_s=self._timeout_s
        )

    async def _open(self, key: EffectKey, entry: JournalEntry) -> EffectResult:
        assert entry.result is not None  # noqa: S101 - the table's own check
        return await self._opened(key, entry.result)

    async def _opened(self, key: EffectKey, sealed: bytes) -> EffectResult:
        result: EffectResult = orjson.loads(await self._vault.open_bytes(sealed, key.context))
        return result

    def _count(self, key: EffectKey, found: str) -> None:
        self._metrics.effects_reconciled.labels(
            org=key.org, operation=key.operation, found=found
        ).inc()


def _unknown(key: EffectKey) -> PermanentError:
    return PermanentError(
        f"{key.operation} may have been done; look at Zoho before doing it by hand",
        code="outcome_unknown",
    )


def _user_of(owner: UserKey | DayKey) -> str | None:
    return owner.user_id if isinstance(owner, UserKey) else None
