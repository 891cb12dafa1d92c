"""Handle `user.erasure_requested.v1` in one service: its products' parts, its rows, the receipt.

Why it is safe at every crash: docs/decisions/0100-erasure.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self
from uuid import NAMESPACE_URL, UUID, uuid5

from shared.contracts.commands import UserErasureRequested
from shared.contracts.events import Kept, UserErased
from shared.crypto.envelope import UserKey
from shared.erasing.erasures import ErasureProgress, Erasures, PartProgress
from shared.erasing.outcome import Found, PartOutcome, ProductErasure
from shared.erasing.retention import retained_for
from shared.erasing.row_cleanup import RowCleanup
from shared.errors import IntegrationError, Postponed, Unavailable, ZohoRejected
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.messaging.outbox.committer import StaleRead

_OLDER_S: Final = 0.5
_OURS: Final = frozenset({"database_unavailable", "unknown_key"})


@dataclass(frozen=True)
class ErasurePolicy:
    """Times and bounds of an erasure.

    Args:
        quiet_s: how long after the tombstone a request that began before it may be under way.
        retry_s: how soon a product that gave no answer is asked again.
        refusals: how often Zoho is asked again for what it refused, `refusal_wait_s` apart.
        retained: what still exists in ciphertext or as a digest afterwards, and for how long.
    """

    quiet_s: float
    retry_s: float
    refusals: int
    refusal_wait_s: float
    retained: tuple[Kept, ...]

    @classmethod
    def of(cls, settings: _Settings) -> Self:
        """The policy that a worker's settings ask for."""
        quiet_s = settings.erasure_quiet_s
        longest_s = settings.lease_s + settings.effect_write_s + settings.effect_timeout_s
        return cls(
            quiet_s=longest_s if quiet_s is None else quiet_s,
            retry_s=settings.erasure_retry_s,
            refusals=settings.erasure_refusals,
            refusal_wait_s=settings.erasure_refusal_wait_s,
            retained=retained_for(settings.dead_letter_days, settings.backup_days),
        )


class _Settings(Protocol):
    erasure_quiet_s: float | None
    erasure_retry_s: float
    erasure_refusals: int
    erasure_refusal_wait_s: float
    backup_days: int
    dead_letter_days: int
    lease_s: float
    effect_write_s: float
    effect_timeout_s: float


class UserErasure:
    """The handler of one service. `parts`: those of the products that the service works with."""

    def __init__(
        self,
        erasures: Erasures,
        schema: str,
        parts: Sequence[ProductErasure],
        policy: ErasurePolicy,
        cleanup: RowCleanup,
    ) -> None:
        self._erasures = erasures
        self._schema = schema
        self._parts = parts
        self._policy = policy
        self._cleanup = cleanup

    async def erase(self, message: UserErasureRequested, work: UnitOfWork) -> None:
        """Do what is missing of this service's parts, and end the erasure if it is the last one."""
        user = UserKey(work.org, message.user_id)
        products = [part.product for part in self._parts]
        begun = await self._erasures.begin(user, products, quiet_s=self._policy.quiet_s)
        if begun is None:
            return
        await self._erase_at_zoho(user, begun)
        if not all(part.ended for part in begun.values()):
            for statement in self._cleanup.before:
                work.record(statement, user.org, user.user_id)
            self._erasures.end_parts(work, user, self._schema, products)
            for statement in self._cleanup.after:
                work.record(statement, user.org, user.user_id)
            await self._commit_parts(work, user, products)
        progress = await self._erasures.progress(user)
        if progress is not None and progress.ended_at is None and not progress.missing:
            self._erasures.end(work, user)
            work.publish(self._receipt(user, progress), event_id=_receipt_id(user, progress))

    async def _commit_parts(self, work: UnitOfWork, user: UserKey, products: Sequence[str]) -> None:
        """Commit before the others are looked at: so the last one finds all of them."""
        try:
            await work.commit_early()
        except StaleRead as error:
            for product in products:
                await self._erasures.record_wait(user, product, "erasure_waits")
            raise Postponed(
                "a transaction that began before the erasure is open",
                retry_after_s=_OLDER_S,
                code="erasure_waits",
            ) from error

    async def _erase_at_zoho(self, user: UserKey, begun: dict[str, PartProgress]) -> None:
        """Each product in turn. One that is away keeps no other one waiting."""
        failed: IntegrationError | None = None
        for part in self._parts:
            progress = begun[part.product]
            if progress.done:
                continue
            try:
                await self._erase_part(user, part, progress)
            except IntegrationError as error:
                await self._erasures.record_wait(user, part.product, error.code)
                failed = failed or error
        if failed is not None:
            raise self._patient(failed)

    async def _erase_part(
        self, user: UserKey, part: ProductErasure, progress: PartProgress
    ) -> None:
        if progress.ready_in_s > 0:
            raise Postponed(
                "what began before the erasure may be under way",
                retry_after_s=progress.ready_in_s,
                code="erasure_waits",
            )

        async def store(found: Found) -> None:
            await self._erasures.store_found(user, part.product, found)

        outcome = PartOutcome(await self._erasures.open_found(user, progress), store)
        try:
            await part.erase(user, outcome)
        except ZohoRejected as error:  # a look was refused: what is there is not known
            outcome.refuse("what could not be looked at", error.zoho_code or str(error.status))
        if outcome.refused and progress.refusals < self._policy.refusals:
            await self._erasures.record_refusal(user, part.product, "erasure_refused")
            raise Postponed(
                f"{part.product} refused a part of the erasure",
                retry_after_s=self._policy.refusal_wait_s,
                code="erasure_refused",
            )
        await self._erasures.record_done(user, part.product, outcome)

    def _patient(self, error: IntegrationError) -> IntegrationError:
        """An erasure is not given up for an outage of Zoho's: it waits, and an alert watches it."""
        if isinstance(error, Unavailable) and error.code not in _OURS:
            wait_s = error.retry_after_s or self._policy.retry_s
            return Postponed(error.reason, retry_after_s=wait_s, code=error.code)
        return error

    def _receipt(self, user: UserKey, progress: ErasureProgress) -> UserErased:
        retained = self._policy.retained
        return UserErased(
            user_id=user.user_id,
            asked_at=progress.asked_at,
            parts=progress.parts,
            kept=retained,
            longest_retention_days=max(each.days or 0 for each in retained),
        )


def _receipt_id(user: UserKey, progress: ErasureProgress) -> UUID:
    asked = progress.asked_at.isoformat()
    return uuid5(NAMESPACE_URL, f"erasure:{user.org}:{user.user_id}:{asked}")
