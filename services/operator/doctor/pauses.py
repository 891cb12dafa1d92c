"""Check whether a worker has paused one of Zoho's products."""

from __future__ import annotations

from typing import Final

import aiohttp

from services.operator.access.worker_metrics import ProductState, read_products
from services.operator.console.advice import advice_for
from services.operator.console.output import moment
from services.operator.doctor.findings import Findings
from services.operator.inspection.products import why
from services.operator.settings import MetricsSettings

_AREA: Final = "products"


async def check_pauses(
    findings: Findings, settings: MetricsSettings | None, session: aiohttp.ClientSession
) -> None:
    """Report each product as the workers see it: open, waiting for quota, or paused."""
    if settings is None or not settings.metrics_urls:
        findings.not_checked(
            _AREA, "pauses", "METRICS_URLS is not set", "It names /metrics of every worker."
        )
        return
    seen = await read_products(session, settings.metrics_urls)
    for url in seen.silent:
        findings.not_checked(_AREA, "pauses", f"no answer from {url}", "Is that worker up?")
    for state in seen.states:
        _report(findings, state)


def _report(findings: Findings, state: ProductState) -> None:
    check = f"{state.product} in {state.service}"
    if state.cause is None:
        findings.ok(_AREA, check, "open")
        return
    until = f" until {moment(state.until)} UTC" if state.until else ""
    said = f"{why(state)} ({state.cause})"
    if state.waits_for_quota:
        waiting = ", ".join(state.priorities)
        findings.ok(_AREA, check, f"{waiting} wait for quota{until}: {said}")
    elif state.is_of_one_operation:
        findings.wrong(_AREA, check, f"one operation waits: {said}", advice_for(state.cause)[1])
    else:
        findings.wrong(_AREA, check, f"paused{until}: {said}", advice_for(state.cause)[1])
