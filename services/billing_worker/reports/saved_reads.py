"""Read lists for one report, and keep each page, so that it goes on where it stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from services.billing_worker.repositories.report_pages import ReportPages, StoredPage
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.finance.pages import Listing
from shared.zoho.products.values import ZohoModel

ItemT = TypeVar("ItemT", bound=ZohoModel)


class SavedReads:
    """What the report of one command has read. Stored pages are not asked for again.

    Lists are in the order of creation, so a page that was read does not change by what is made
    while the report waits or is taken over by another worker.
    """

    def __init__(self, pages: ReportPages, work: UnitOfWork) -> None:
        received = work.received
        self._pages = pages
        self._work = work
        self._report = f"{received.routing_key} {received.message_id}" if received else ""

    async def began_at(self) -> datetime:
        """From when the figures are: the first read of this report."""
        return await self._pages.began_at(self._work.org, self._report)

    async def all_of(self, name: str, listing: Listing[ItemT]) -> AsyncIterator[ItemT]:
        """The items of a list. `name` stands for the list within the report."""
        number = 0
        for stored in await self._pages.of(self._work.org, self._report, name):
            if stored.number != number + 1:
                break  # pages before it are gone: they were older than what is kept
            for item in stored.items:
                yield listing.model.model_validate(item)
            if stored.is_last:
                return
            number = stored.number
        async for page in listing.pages(first=number + 1):
            await self._store(name, page.number, page.items, is_last=page.is_last)
            for found in page.items:
                yield found

    async def once(
        self, name: str, model: type[ItemT], read: Callable[[], Awaitable[Sequence[ItemT]]]
    ) -> Sequence[ItemT]:
        """What one read gives. It is not made again."""
        for stored in await self._pages.of(self._work.org, self._report, name):
            return [model.model_validate(item) for item in stored.items]
        found = await read()
        await self._store(name, 1, found, is_last=True)
        return found

    def forget(self) -> None:
        """Delete the pages with the commit of the reply."""
        self._pages.forget(self._work, self._report)

    async def _store(
        self, name: str, number: int, items: Sequence[ItemT], *, is_last: bool
    ) -> None:
        rows = [item.model_dump(mode="json", exclude_defaults=True) for item in items]
        page = StoredPage(number, rows, is_last)
        await self._pages.add(self._work.org, self._report, name, page)
