"""Add a contact's tags in CRM, and remove those of ours that it should not have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from services.crm_worker.repositories.contact_fields import ContactField
from services.crm_worker.repositories.contacts import WantedContact
from shared.contracts.tier import Tier
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.crm.models import RowResult

log = structlog.get_logger(__name__)

USER_TAG: Final = "App User"
ACTIVE_TAG: Final = "Active"
OUR_TAGS: Final = frozenset({USER_TAG, ACTIVE_TAG, *Tier})
# https://www.zoho.com/crm/developer/docs/api/v8/add-tags.html
_MOST_TAGS: Final = 10


@dataclass(frozen=True)
class SentContact:
    """A contact that CRM accepted.

    `inserted`: it is new, and has the tags that it was sent with. `values`: the email and the phone
    that it has, as far as they were to be sent.
    """

    contact: WantedContact
    zoho_id: str
    inserted: bool
    inserted_tags: tuple[str, ...] = ()
    values: Mapping[ContactField, str] = field(default_factory=dict)

    @property
    def wanted_tags(self) -> tuple[str, ...]:
        return tags_of(self.contact.tier)

    @property
    def is_tagged(self) -> bool:
        if self.inserted:
            return self.inserted_tags == self.wanted_tags
        same_contact = self.zoho_id == self.contact.zoho_id
        return same_contact and self.contact.sent_tags == frozenset(self.wanted_tags)


@dataclass
class TaggingResult:
    """By Zoho's id: of our tags, those that CRM has, and the rows that failed and may pass."""

    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: dict[str, RowResult] = field(default_factory=dict)


def tags_of(tier: str) -> tuple[str, ...]:
    """Return the tags of a user of this tier, the most important first."""
    if tier == Tier.CHURNED:
        return (tier, USER_TAG)
    return (tier, USER_TAG, ACTIVE_TAG)


async def tag_contacts(crm: ZohoCrm, sent: Sequence[SentContact]) -> TaggingResult:
    """Add first, then remove: in between a contact has both tags, and never none.

    Tags that staff set stay. A contact whose ten tags leave no room gets as many of ours as fit.
    """
    result = TaggingResult({done.zoho_id: done.wanted_tags for done in sent})
    to_tag = [done for done in sent if not done.is_tagged]
    added: dict[str, RowResult] = {}
    for tier, ids in _by_tier(to_tag).items():
        added |= zip(ids, await crm.add_tags(ids, tags_of(tier)), strict=False)
    existed = [done for done in to_tag if not done.inserted]
    for tier, ids in _by_tier(existed).items():
        unwanted = sorted(OUR_TAGS - set(tags_of(tier)))
        removed = dict(zip(ids, await crm.remove_tags(ids, unwanted), strict=False))
        result.failed |= {zoho_id: row for zoho_id, row in removed.items() if not row.ok}
    result.failed |= {zoho_id: row for zoho_id, row in added.items() if row.may_pass}
    for done in to_tag:
        if _refused(added, done.zoho_id) and done.zoho_id not in result.failed:
            await _add_what_fits(crm, done, result)
    return result


def _by_tier(sent: Iterable[SentContact]) -> Mapping[str, list[str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for done in sent:
        ids[done.contact.tier].append(done.zoho_id)
    return ids


def _refused(added: Mapping[str, RowResult], zoho_id: str) -> bool:
    row = added.get(zoho_id)
    return row is not None and not row.ok and not row.may_pass


async def _add_what_fits(crm: ZohoCrm, done: SentContact, result: TaggingResult) -> None:
    """Read which tags there are by now, and add as many of ours as there is room for."""
    contact = await crm.contact(done.zoho_id)
    if contact is None:
        result.failed[done.zoho_id] = RowResult(ok=False, code="RECORD_NOT_FOUND")
        return
    missing = [tag for tag in done.wanted_tags if tag not in contact.tag_names]
    fitting = missing[: max(0, _MOST_TAGS - len(contact.tag_names))]
    if fitting:
        [row] = await crm.add_tags([done.zoho_id], fitting)
        if not row.ok:
            fitting = []
    has = contact.tag_names | set(fitting)
    result.tags[done.zoho_id] = tuple(tag for tag in done.wanted_tags if tag in has)
    log.warning("tags do not fit beside those of staff", missing=len(set(missing) - has))
