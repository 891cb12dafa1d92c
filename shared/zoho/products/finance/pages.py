"""Read the pages of a list of Zoho's finance products."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from shared.zoho.products.values import ZohoModel

PER_PAGE: Final = 200
"""The largest page Billing and Books give (https://www.zoho.com/books/api/v3/pagination/)."""

Fetch = Callable[[dict[str, str]], Awaitable[Mapping[str, Any]]]


ItemT = TypeVar("ItemT", bound=ZohoModel)


@dataclass(frozen=True)
class ListPage(Generic[ItemT]):
    """What is wanted of one page. `number` counts from 1."""

    number: int
    items: Sequence[ItemT]
    is_last: bool


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[ItemT]):
    """A list of Zoho's, whose pages are read as they are asked for.

    `keys`: the names that the list may have in an answer. `wanted`: which of its items are given.
    Zoho ignores filters that it does not know, so every item is compared.
    """

    fetch: Fetch
    params: Mapping[str, str]
    keys: tuple[str, ...]
    model: type[ItemT]
    wanted: Callable[[ItemT], bool]

    async def pages(self, *, first: int = 1) -> AsyncIterator[ListPage[ItemT]]:
        """The pages from this one on, one call each."""
        number = first
        async for rows, is_last in _pages(self.fetch, self.params, *self.keys, first=first):
            items = [item for item in map(self.model.model_validate, rows) if self.wanted(item)]
            yield ListPage(number, items, is_last)
            number += 1

    async def __aiter__(self) -> AsyncIterator[ItemT]:
        async for page in self.pages():
            for item in page.items:
                yield item


async def pages(
    fetch: Fetch, params: Mapping[str, str], *keys: str
) -> AsyncIterator[list[dict[str, Any]]]:
    """The rows of each page, until Zoho says that there is no other.

    `keys` are the names a list may have: Books calls one list `customerpayments` in its answers
    and `customer_payments` in its documentation.
    """
    async for rows, _ in _pages(fetch, params, *keys):
        yield rows


async def _pages(
    fetch: Fetch, params: Mapping[str, str], *keys: str, first: int = 1
) -> AsyncIterator[tuple[list[dict[str, Any]], bool]]:
    page, is_last = first, False
    while not is_last:
        body = await fetch({**params, "page": str(page), "per_page": str(PER_PAGE)})
        rows: list[dict[str, Any]] = next((body[key] for key in keys if key in body), [])
        is_last = not rows or not _has_more(body.get("page_context"))
        yield rows, is_last
        page += 1


async def all_rows(fetch: Fetch, params: Mapping[str, str], *keys: str) -> list[dict[str, Any]]:
    return [row async for rows in pages(fetch, params, *keys) for row in rows]


def _has_more(context: Any) -> bool:
    # Books' OpenAPI file types it as a list of one.
    if isinstance(context, list):
        context = context[0] if context else None
    return bool(context and context.get("has_more_page"))
