"""Model what Zoho CRM sends and takes (https://www.zoho.com/crm/developer/docs/api/v8/)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import Field

from shared.zoho.call.known_answers import KnownAnswer, Meaning, row_for_code
from shared.zoho.products.crm.known_answers import KNOWN_ANSWERS
from shared.zoho.products.values import ZohoId, ZohoModel, ZohoText, ZohoTime

# An optional +, then groups of letters and digits split by one space, dot or hyphen, perhaps in
# brackets. At most 30 characters. A phone that does not fit would cost the whole row.
_PHONE: Final = re.compile(r"\+?\(?\w+\)?(?:[ .-]?\(?\w+\)?)*\Z", re.ASCII)
_FIRST_NAME: Final = 40
_LAST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class ContactToSend:
    """Our fields of a contact. None leaves Zoho's value alone. An empty text erases it.

    `sends_email`: without it, the contact is found by our unique field or by its id, and its email
    stays as it is. `tags`: only for a contact that CRM does not have. Those of another one would
    be replaced.
    """

    user_id: str
    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    tier: str | None = None
    sends_email: bool = True
    tags: tuple[str, ...] = ()

    def row(self, *, user_field: str | None, tier_field: str | None) -> dict[str, Any]:
        """The row of an upsert. `Last_Name` is mandatory: the email's local part stands in."""
        fields: dict[str, Any] = {
            "Email": self.email if self.sends_email else None,
            "First_Name": _cut(self.first_name, _FIRST_NAME),
            "Last_Name": (self.last_name or self.email.partition("@")[0])[:_LAST_NAME],
            "Phone": self.phone if self.phone is None or fits_phone(self.phone) else None,
        }
        if user_field:
            fields[user_field] = self.user_id
        if tier_field:
            fields[tier_field] = self.tier
        if self.tags:
            fields["Tag"] = [{"name": tag} for tag in self.tags]
        # What CRM is sent as null, it erases.
        return {name: value or None for name, value in fields.items() if value is not None}


def fits_phone(phone: str) -> bool:
    """Whether CRM takes it as a phone number. The empty one, which erases, it does."""
    return not phone or (len(phone) <= 30 and _PHONE.match(phone) is not None)


def _cut(text: str | None, length: int) -> str | None:
    return None if text is None else text[:length]


@dataclass(frozen=True, slots=True)
class ChannelToOpen:
    """A channel by which CRM announces edits of contacts.

    `channel_id` is a number of our choice. CRM sends it back, and the `token` (at most 50
    characters), which proves where a callback comes from.
    Source: https://www.zoho.com/crm/developer/docs/api/v8/notifications/enable.html
    """

    channel_id: int
    notify_url: str
    token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"<ChannelToOpen until {self.expires_at}>"

    def row(self, expiry: str) -> dict[str, Any]:
        return {
            "channel_id": str(self.channel_id),
            "events": ["Contacts.edit"],
            "notify_url": self.notify_url,
            "token": self.token,
            "channel_expiry": expiry,
        }


class _ChannelEvent(ZohoModel):
    channel_expiry: ZohoTime = None


def granted_expiry(body: Mapping[str, Any]) -> datetime | None:
    """Return until when CRM keeps the channel. None when the answer does not say."""
    rows = body.get("watch") or [{}]
    events = (rows[0].get("details") or {}).get("events") or [{}]
    return _ChannelEvent.model_validate(events[0]).channel_expiry


class Tag(ZohoModel):
    name: str


class CrmContact(ZohoModel):
    """A contact. `fields` holds everything Zoho sent, for custom fields."""

    id: ZohoId
    email: ZohoText = Field(default=None, validation_alias="Email")
    first_name: ZohoText = Field(default=None, validation_alias="First_Name")
    last_name: ZohoText = Field(default=None, validation_alias="Last_Name")
    phone: ZohoText = Field(default=None, validation_alias="Phone")
    tags: tuple[Tag, ...] = Field(default=(), validation_alias="Tag")
    modified_time: ZohoTime = Field(default=None, validation_alias="Modified_Time")
    modified_by: Any = Field(default=None, validation_alias="Modified_By")
    fields: Mapping[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, record: dict[str, Any]) -> CrmContact:
        return cls.model_validate(
            {**record, "Tag": record.get("Tag") or (), "fields": record},
        )

    @property
    def tag_names(self) -> frozenset[str]:
        return frozenset(tag.name for tag in self.tags)


@dataclass(frozen=True, slots=True)
class RowResult:
    """The result of the request's row at the same position.

    `id` is what was written, or, for `DUPLICATE_DATA`, the record that stands in the way.
    `field` names the field Zoho refused. `fields` all of them, when it refused several.
    """

    ok: bool
    code: str
    id: str | None = None
    action: str | None = None
    field: str | None = None
    fields: tuple[str, ...] = ()

    @property
    def may_pass(self) -> bool:
        """It failed, and another time may go well."""
        return not self.ok and self._known.meaning is not Meaning.REJECTED

    @property
    def is_unknown_id(self) -> bool:
        """Whether the record that the call named is not there: deleted, or merged away."""
        return self.code == "INVALID_DATA" and self.fields == ("id",)

    @property
    def wait_s(self) -> float:
        """Seconds to stay away, where CRM's table says so. Otherwise 0."""
        return self._known.wait_s or 0.0

    @property
    def _known(self) -> KnownAnswer:
        return row_for_code(KNOWN_ANSWERS, self.code)


def rows_of(body: Mapping[str, Any]) -> list[RowResult]:
    """The rows of an answer, in the order of the request's."""
    return [_row(one) for one in body.get("data", [])]


def _row(one: Mapping[str, Any]) -> RowResult:
    details = one.get("details") or {}
    if not isinstance(details, Mapping):
        details = {}
    duplicate = details.get("duplicate_record") or {}
    found = details.get("id") or duplicate.get("id")
    return RowResult(
        ok=one.get("status") == "success",
        code=str(one.get("code", "")),
        id=str(found) if found is not None else None,
        action=one.get("action"),
        field=details.get("api_name"),
        fields=tuple(_at_fault(details)),
    )


def _at_fault(details: Mapping[str, Any]) -> Iterator[str]:
    """Also the fields of `MULTIPLE_OR_MULTI_ERRORS`, which are one level deeper."""
    for one in (details, *(error.get("details") or {} for error in details.get("errors") or ())):
        if name := one.get("api_name"):
            yield str(name)


class Note(ZohoModel):
    id: ZohoId
    title: ZohoText = Field(default=None, validation_alias="Note_Title")
    content: ZohoText = Field(default=None, validation_alias="Note_Content")
    modified_time: ZohoTime = Field(default=None, validation_alias="Modified_Time")
