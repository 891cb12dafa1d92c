"""Add a contact's tags in CRM, and remove those of other tiers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from services.crm_worker.repositories.contacts import WantedContact
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.models import RowResult

log = structlog.get_logger(__name__)

ALWAYS_TAGGED = ("App User", "Active")
TIER_TAGS = ("Free Tier", "Paid Tier", "Trial", "Churned")


@dataclass(frozen=True)
class SentContact:
    """A contact that CRM accepted.

    `existed`: it was there before, so it may carry another tier's tag.
    """

    contact: WantedContact
    zoho_id: str
    existed: bool


def tags_of(tier: str) -> tuple[str, ...]:
    return (*ALWAYS_TAGGED, tier)


async def tag_contacts(crm: ZohoCrm, sent: Sequence[SentContact]) -> dict[str, RowResult]:
    """Add first, then remove: in between a contact has both tags, and never none.

    Tags that staff set stay: only the other tiers' are removed. Returns, by Zoho's id, the rows
    that CRM may accept another time. A row that it never will (a contact with ten tags) is only
    logged.
    """
    to_add: dict[str, list[str]] = defaultdict(list)
    to_remove: dict[str, list[str]] = defaultdict(list)
    for done in sent:
        contact = done.contact
        if contact.sent_tier != contact.tier:
            to_add[contact.tier].append(done.zoho_id)
            if done.existed:
                to_remove[contact.tier].append(done.zoho_id)
    not_tagged: dict[str, RowResult] = {}
    for tier, ids in to_add.items():
        not_tagged |= _passing_failures(ids, await crm.add_tags(ids, tags_of(tier)))
    for tier, ids in to_remove.items():
        other_tiers = [other for other in TIER_TAGS if other != tier]
        not_tagged |= _passing_failures(ids, await crm.remove_tags(ids, other_tiers))
    return not_tagged


def _passing_failures(ids: Sequence[str], rows: Sequence[RowResult]) -> dict[str, RowResult]:
    for row in rows:
        if not row.ok:
            log.warning("contact not tagged", code=row.code)
    return {zoho_id: row for zoho_id, row in zip(ids, rows, strict=False) if row.may_pass}
