"""Show which of Zoho's products are paused, why and until when: `zoho-relay products`."""

from __future__ import annotations

import asyncio
from types import MappingProxyType
from typing import Final

import aiohttp
import typer

from services.operator.access.worker_metrics import ProductState, SeenProducts, read_products
from services.operator.console.advice import advice_for
from services.operator.console.listing import JsonOption
from services.operator.console.output import TableRow, moment, print_error, show
from services.operator.settings import MetricsSettings

_REASONS: Final = MappingProxyType(
    {
        "minute": "the calls of this minute are used up",
        "pace": "it is ahead of the day's pace until the next quarter of an hour",
        "day": "its share of the day's calls is used up",
        "concurrency": "too many calls are under way",
        "outage": "Zoho gives no usable answer",
        "token": "Zoho gives out no access tokens for now",
    }
)


def products(as_json: JsonOption = False) -> None:
    """Show for each product whether it is paused or waits for quota, why, and until when.

    Asks the workers at METRICS_URLS. A service is listed with each product that it calls. Times are
    when the next call is tried, in UTC. Exits with 1 when a worker gives no answer.
    """
    urls = MetricsSettings.load().metrics_urls
    if not urls:
        print_error("METRICS_URLS: is not set. It names /metrics of every worker.")
        raise typer.Exit(2)
    seen = asyncio.run(_read(urls))
    rows = [_row(state) for state in seen.states]
    show(rows, as_json=as_json, empty="No worker names a product.")
    for url in seen.silent:
        print_error(f"No answer from {url}")
    if seen.silent:
        raise typer.Exit(1)


async def _read(urls: tuple[str, ...]) -> SeenProducts:
    async with aiohttp.ClientSession() as session:
        return await read_products(session, urls)


def why(state: ProductState) -> str:
    """What is wrong, in a sentence."""
    if state.cause is None:
        return ""
    return _REASONS.get(state.cause) or advice_for(state.cause)[0]


def _row(state: ProductState) -> TableRow:
    return {
        "org": state.org,
        "product": state.product,
        "service": state.service,
        "state": _state(state),
        "cause": state.cause or "",
        "priorities": ", ".join(state.priorities),
        "until": moment(state.until),
        "why": why(state),
    }


def _state(state: ProductState) -> str:
    if state.is_open:
        return "open"
    if state.waits_for_quota:
        return "waits for quota"
    return "open but for one operation" if state.is_of_one_operation else "paused"
