"""Reading every page of a list of Zoho's finance products."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

PER_PAGE: Final = 200
"""The largest page Billing and Books give (https://www.zoho.com/books/api/v3/pagination/)."""

Fetch = Callable[[dict[str, str]], Awaitable[Mapping[str, Any]]]


async def pages(
    fetch: Fetch, params: Mapping[str, str], *keys: str
) -> AsyncIterator[list[dict[str, Any]]]:
    """The rows of each page, until Zoho says that there is no other.

    `keys` are the names a list may have: Books calls one list `customerpayments` in its answers
    and `customer_payments` in its documentation.
    """
    page = 1
    while True:
        body = await fetch({**params, "page": str(page), "per_page": str(PER_PAGE)})
        rows: list[dict[str, Any]] = next((body[key] for key in keys if key in body), [])
        yield rows
        if not rows or not _has_more(body.get("page_context")):
            return
        page += 1


async def all_rows(fetch: Fetch, params: Mapping[str, str], *keys: str) -> list[dict[str, Any]]:
    return [row async for rows in pages(fetch, params, *keys) for row in rows]


def _has_more(context: Any) -> bool:
    # Books' OpenAPI file types it as a list of one.
    if isinstance(context, list):
        context = context[0] if context else None
    return bool(context and context.get("has_more_page"))
