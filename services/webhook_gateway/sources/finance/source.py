"""Read the webhooks of Billing and Books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from services.webhook_gateway.requests.bodies import form_of, object_of, parse_pairs, says_form
from services.webhook_gateway.requests.times import moment
from services.webhook_gateway.requests.webhook_request import WebhookEvent, WebhookRequest
from services.webhook_gateway.signatures import finance as signatures
from services.webhook_gateway.sources.finance.event_names import FINANCE, RECORDS
from services.webhook_gateway.sources.finance.settings import FinanceWebhookSettings
from services.webhook_gateway.sources.secrets import bytes_of
from shared.contracts.webhooks import Product, event_name


class FinanceSource:
    """Reads Billing's event webhooks, and the workflow webhooks of Billing and Books.

    An event webhook names its event and its id. A workflow webhook is a bare record
    (`{"organization_id": …, "invoice": {…}}`), called `invoice_changed` here.
    """

    answers_get = False

    @classmethod
    def of(cls, product: Product, settings: FinanceWebhookSettings) -> Self:
        return cls(product, bytes_of(settings.zoho_webhook_secret))

    def __init__(self, product: Product, secrets: Sequence[bytes]) -> None:
        self.product = product
        self._secrets = secrets

    async def read(self, request: WebhookRequest) -> list[WebhookEvent]:
        content_type = request.headers.get("Content-Type", "")
        form = form_of(content_type, request.body)
        is_signed_as_form = form is not None and says_form(content_type)
        signatures.verify(
            request.headers.get(signatures.HEADER, ""),
            self._secrets,
            query=request.query,
            form=form,
            body=b"" if is_signed_as_form else request.body,
        )
        payload = object_of(request.body, form)
        event = event_name(_named_event(payload, request.query))
        event_id = _text(payload.get("event_id"))
        return [
            WebhookEvent(
                event=event,
                known=event in FINANCE,
                raw=request.body,
                payload=payload,
                identity=event_id,
                event_id=event_id,
                event_time=moment(payload.get("event_time")),
            )
        ]


def _named_event(payload: Mapping[str, Any], query: str) -> str:
    # Some set the event's name in the URL: a workflow webhook has no other place for it.
    url_parameters = dict(parse_pairs(query)) if query else {}
    for names in (payload, url_parameters):
        for key in ("event_type", "event"):
            if name := _text(names.get(key)):
                return name
    data = payload.get("data")
    records = data if isinstance(data, Mapping) else payload
    return next((f"{record}_changed" for record in RECORDS if record in records), "")


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and value != "" else None
