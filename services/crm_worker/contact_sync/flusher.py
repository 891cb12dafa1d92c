"""Bring CRM to the wanted state: lease contacts that it is behind on, and send them in batches.

A contact is sent once, however many changes it had since the last time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from services.crm_worker.contact_sync.refusals import Refusals
from services.crm_worker.contact_sync.sender import ContactSender, retry_s
from services.crm_worker.repositories.contacts import Contacts, WantedContact
from shared.background import repeat
from shared.errors import (
    IntegrationError,
    Misconfigured,
    Postponed,
    RateLimited,
    Unavailable,
    ZohoRejected,
)
from shared.lease_in_hand import LeaseInHand, holding
from shared.messaging.dispatch.outages import through_outage
from shared.storage.pool import unavailable_when_down
from shared.zoho.call.breakers import BreakerGate
from shared.zoho.call.known_answers import NOT_JSON

log = structlog.get_logger(__name__)

# A call of up to 10 contacts costs one credit. Larger ones are heavy calls for CRM, of which fewer
# may be in flight.
# https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html
BATCH_SIZE: Final = 10

# CRM's edge servers answer with a page of HTML when we call too often, and when they object to
# content. A contact that gets it so often in calls of its own is given up for its content.
_MOST_REFUSED_CALLS: Final = 3
# These codes blame the call and none of its contacts. Giving the contacts up would lose them all
# (docs/zoho/crm.md, 1.3).
_WRONG_CALL: Final = frozenset(
    {"INVALID_MODULE", "INVALID_URL_PATTERN", "INVALID_REQUEST_METHOD", "REQUIRED_PARAM_MISSING"}
)


# How long a batch is kept to be given back: no longer than a stop waits for what is in hand.
_OUTAGE_S: Final = 30.0


@dataclass(frozen=True)
class FlushPacing:
    """Times in seconds. Changes of one contact within `every_s` are sent together."""

    every_s: float = 1.0
    lease_s: float = 90.0


class Flusher:
    """Sends the contacts that CRM is behind on.

    Any number of replicas may run: a lease keeps them apart.
    """

    def __init__(
        self,
        *,
        org: str,
        contacts: Contacts,
        sender: ContactSender,
        refusals: Refusals,
        gate: BreakerGate,
        pace: FlushPacing | None = None,
    ) -> None:
        self._org = org
        self._contacts = contacts
        self._sender = sender
        self._refusals = refusals
        self._gate = gate
        self._pace = pace or FlushPacing()

    async def run(self, stop: asyncio.Event) -> None:
        """Flush until stopped. A batch under way is finished first."""
        # After any failure CRM is still behind on the contacts, so they are leased again.
        await repeat("flush contacts", self._flush_if_open, every_s=self._pace.every_s, stop=stop)

    async def _flush_if_open(self) -> bool:
        # The gate is not awaited: it may stay closed until Zoho's next day, and a stop must not
        # wait for that.
        return self._gate.is_open() and await self.flush_once() > 0

    async def flush_once(self) -> int:
        """Send what one lease holds.

        Returns how many contacts were leased, 0 when there is nothing more to do right now.
        """
        lease = LeaseInHand(time.monotonic() + self._pace.lease_s)
        leased = await self._contacts.lease(self._org, limit=BATCH_SIZE, lease_s=self._pace.lease_s)
        together = [contact for contact in leased if not contact.refused_calls]
        alone = [[contact] for contact in leased if contact.refused_calls]
        more = len(leased)
        with holding(lease):
            for batch in ([together] if together else []) + alone:
                if not await self._send(batch):
                    more = 0
        return more

    async def _send(self, batch: Sequence[WantedContact]) -> bool:
        """Send a batch. Returns whether it is of use to send another one."""
        try:
            with unavailable_when_down():
                await self._sender.send(batch)
        except IntegrationError as error:
            if isinstance(error, ZohoRejected) and error.zoho_code not in _WRONG_CALL:
                await self._handle_refused_call(batch, error)
            else:
                await self._put_off(batch, error)
            # After Misconfigured, the next batch would be refused as this one was.
            return not isinstance(error, Misconfigured)
        return True

    async def _handle_refused_call(
        self, batch: Sequence[WantedContact], error: ZohoRejected
    ) -> None:
        """Find the contact because of which CRM refused the whole call, and give it up."""
        if len(batch) == 1:
            await self._refusals.by_crm(batch[0], error.zoho_code, error.fields)
            return
        log.warning("a call was refused, its contacts are sent one by one", code=error.code)
        for contact in batch:
            await self._send([contact])

    async def _put_off(self, batch: Sequence[WantedContact], error: IntegrationError) -> None:
        log.warning("contacts not sent", code=error.code, contacts=len(batch))
        by_edge = isinstance(error, RateLimited) and error.zoho_code == NOT_JSON
        if by_edge and len(batch) == 1 and batch[0].refused_calls >= _MOST_REFUSED_CALLS:
            await self._refusals.by_crm(batch[0], NOT_JSON)
            return
        wait_s = _wait_s(error, batch)

        async def give_back() -> None:
            with unavailable_when_down():
                await self._contacts.give_back(batch, after_s=wait_s, call_refused=by_edge)

        # Also when it was the database that went away: the lease would outlast the outage.
        async with asyncio.timeout(_OUTAGE_S):
            await through_outage(give_back)


def _wait_s(error: IntegrationError, batch: Sequence[WantedContact]) -> float:
    match error:
        case Postponed(retry_after_s=wait_s):
            return wait_s
        case Unavailable(retry_after_s=float(wait_s)):
            return wait_s
        case Misconfigured():
            return retry_s(0)
        case _:
            return retry_s(max(contact.failures for contact in batch))
