"""Show for each product of a worker whether it is paused, for whom, why and until when."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from shared.messaging.dispatch.reservations import Pause
from shared.messaging.handling.routes import MessagePriority
from shared.observability.metrics import Metrics


class PauseGauges:
    """`product_paused` and `product_closed_until_seconds` of one worker.

    A cause that is a limit of the quota (`minute`, `pace`, `day`, `concurrency`) may close some
    priorities only. Any other closes all of them.
    """

    def __init__(
        self,
        metrics: Metrics,
        service: str,
        org: str,
        products: Collection[str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._metrics = metrics
        self._service = service
        self._org = org
        self._products = products
        self._clock = clock
        self._known: set[tuple[str, str]] = set()

    def show(self, pauses: Sequence[Pause]) -> None:
        """Show these pauses, and no others. An open product is shown with the cause `none`."""
        longest: dict[tuple[str, int], Pause] = {}
        for pause in sorted(pauses, key=lambda each: each.wait_s):
            longest[pause.closed.product, pause.closed.priority] = pause
        self._metrics.product_closed_until.clear()
        for product in self._products:
            for priority in MessagePriority:
                self._show_one(product, priority, longest.get((product, int(priority))))
        causes = {(pause.closed.product, pause.cause) for pause in pauses}
        self._known |= causes | {(product, "none") for product in self._products}
        for product, cause in self._known:
            gauge = self._metrics.product_paused.labels(self._org, self._service, product, cause)
            gauge.set((product, cause) in causes)

    def _show_one(self, product: str, priority: MessagePriority, pause: Pause | None) -> None:
        cause, until = ("none", 0.0) if pause is None else (pause.cause, self._until(pause))
        self._metrics.product_closed_until.labels(
            self._org, self._service, product, priority.name.lower(), cause
        ).set(until)

    def _until(self, pause: Pause) -> float:
        return self._clock() + pause.wait_s
