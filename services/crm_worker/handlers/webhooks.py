"""Read the contacts that CRM's channel or a workflow webhook names. A webhook is only a hint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.crm_worker.repositories.crm_values import CrmValues
from services.crm_worker.watching.contact_watcher import ContactWatcher
from services.crm_worker.watching.staff_changes import WATCHED_FIELDS, is_unclear
from shared.contracts.webhooks import WebhookReceived
from shared.contracts.zoho_payloads import CrmNotification
from shared.errors import LookAgain
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.observability.metrics import Metrics
from shared.zoho.products.crm.client import ZohoCrm

_EDITS: Final = ("contacts_update", "workflow")
# A flush takes about as long, and then it is known what CRM has.
_UNTIL_SENT_S: Final = 2.0


async def notice_contacts(
    message: WebhookReceived,
    work: UnitOfWork,
    *,
    values: CrmValues,
    watcher: ContactWatcher,
    crm: ZohoCrm,
    metrics: Metrics,
) -> None:
    """Take over what staff changed. Our own writes come back here too, and cost no call.

    What is not handled is counted: without a queue that takes it, the gateway would keep it for
    ever.
    """
    if message.event not in _EDITS:
        metrics.webhooks_received.labels(message.product, "unknown_event", work.org).inc()
        return
    contacts = await values.stored(work.org, _ids_to_read(message))
    if any(is_unclear(stored) for stored in contacts):
        raise LookAgain("a contact is being sent", retry_after_s=_UNTIL_SENT_S)
    for stored in contacts:
        seen = await crm.contact(stored.zoho_id)
        if seen is not None:
            await watcher.compare(work, stored, seen)


def _ids_to_read(message: WebhookReceived) -> Sequence[str]:
    hint = CrmNotification.model_validate(message.payload)
    return [one for one in hint.record_ids if hint.may_have_changed(one, WATCHED_FIELDS)]
