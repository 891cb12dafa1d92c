"""Collect what one product's part of an erasure found, erased, and had to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

from shared.contracts.events import ErasedRecords, Kept
from shared.contracts.webhooks import Product
from shared.crypto.envelope import UserKey
from shared.errors import ZohoRejected

_GONE: Final = 404

Found = dict[str, list[str]]
"""By kind, Zoho's ids of what is the user's: `{"customer": ["460000000001"]}`."""


@dataclass
class PartOutcome:
    """What a part comes to. `found` outlives a crash: it is stored before anything is changed.

    `refused`: what Zoho refused in this round. It is tried again before it counts as kept.
    """

    found: Found
    store: Callable[[Found], Awaitable[None]]
    kept: list[Kept] = field(default_factory=list)
    refused: list[Kept] = field(default_factory=list)
    _erased: Counter[str] = field(default_factory=Counter)

    async def remember(self, found: Mapping[str, Iterable[str]]) -> None:
        """Add to what was found, and store it. What an earlier attempt found stays."""
        merged = {
            kind: list(dict.fromkeys([*self.found.get(kind, ()), *found.get(kind, ())]))
            for kind in {*self.found, *found}
        }
        if merged != self.found:
            await self.store(merged)
            self.found = merged

    def ids(self, kind: str) -> list[str]:
        return self.found.get(kind, [])

    @contextmanager
    def erasing(self, what: str) -> Iterator[None]:
        """Count one `what` as erased if Zoho does what is inside. Its refusal is noted.

        A record that is gone counts as erased: it had been found.
        """
        try:
            yield
        except ZohoRejected as error:
            if error.status != _GONE:
                self.refuse(what, error.zoho_code or str(error.status))
                return
        self.count(what)

    def count(self, what: str) -> None:
        """Count one `what` as erased."""
        self._erased[what] += 1

    def refuse(self, what: str, code: str) -> None:
        """Note that Zoho refused one `what`, where its answer is no error of the whole call."""
        self.refused.append(Kept(what=what, reason=f"Zoho refused it ({code})", count=1))

    def miss(self, what: str, reason: str) -> None:
        """Note that what should be there was not found. It is looked for again, as a refusal is."""
        self.refused.append(Kept(what=what, reason=reason))

    def keep(self, what: str, reason: str, *, ids: Iterable[str] = (), count: int = 0) -> None:
        """Name what stays, when there is any."""
        names = tuple(ids)
        if names or count:
            self.kept.append(Kept(what=what, reason=reason, ids=names, count=count or len(names)))

    @property
    def erased(self) -> list[ErasedRecords]:
        return [ErasedRecords(what=what, count=count) for what, count in self._erased.items()]


class ProductErasure(Protocol):
    """What one product does for an erasure.

    Called again after a crash, a lost answer or a refusal: each call must be one that may be
    repeated. It finds first, remembers what it found, and only then changes anything.
    """

    @property
    def product(self) -> Product: ...

    async def erase(self, user: UserKey, outcome: PartOutcome) -> None:
        """Erase what the product has of the user.

        Raises what Zoho's clients raise. `ZohoRejected` belongs into `outcome.erasing`.
        """
        ...
