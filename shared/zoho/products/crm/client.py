"""Zoho CRM, one typed method per operation (https://www.zoho.com/crm/developer/docs/api/v8/).

Contacts are written by upsert only: the API has no idempotency keys, and an insert done twice is
two contacts. Answers hold one result per row sent, in order. Nothing is decided from the status.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.errors import ZohoRejected
from shared.zoho.call.http import Operation, ZohoHttp
from shared.zoho.products.client import ProductClient
from shared.zoho.products.crm.models import (
    ChannelToOpen,
    ContactToSend,
    CrmContact,
    Note,
    RowResult,
    granted_expiry,
    rows_of,
)
from shared.zoho.products.crm.settings import CrmFields
from shared.zoho.quota.priority import Priority

MAX_ROWS: Final = 100
"""Rows of one upsert. More than 10 count against a smaller limit of calls in flight."""

MOST_NOTES: Final = 2000
"""Notes of one contact that can be listed. Pages beyond need a token of the page before."""

_NOTES_A_PAGE: Final = 200

# Rows of a query for one credit.
# https://www.zoho.com/crm/developer/docs/api/v8/COQL-Overview.html
_COQL_ROWS: Final = 200

# One row: its error is the call's.
CREATE_NOTE: Final = Operation("crm", "create_notes", "POST", search_lag_s=30)
_UPSERT: Final = Operation(
    "crm", "upsert_contacts", "POST", repeatable=True, rows=True, heavy_above=1
)
_UPDATE: Final = Operation("crm", "update_contact", "PUT", repeatable=True, rows=True)
_GET: Final = Operation("crm", "get_contact", "GET", repeatable=True)
_SEARCH: Final = Operation("crm", "search_contacts", "GET", repeatable=True)
_ADD_TAGS: Final = Operation("crm", "add_tags", "POST", repeatable=True, rows=True)
_REMOVE_TAGS: Final = Operation("crm", "remove_tags", "POST", repeatable=True, rows=True)
_DELETE_NOTE: Final = Operation("crm", "delete_note", "DELETE", repeatable=True, rows=True)
_COQL: Final = Operation("crm", "coql", "POST", repeatable=True, heavy_above=0)
_OPEN_CHANNEL: Final = Operation("crm", "enable_notifications", "POST", repeatable=True, rows=True)
_RENEW_CHANNEL: Final = Operation("crm", "update_notifications", "PUT", repeatable=True, rows=True)
_LIST_NOTES: Final = Operation("crm", "list_notes", "GET", repeatable=True)


class ZohoCrm(ProductClient[CrmFields]):
    """Every method raises what `ZohoHttp.call` raises. Row errors come back as rows.

    `version` is the API's (`v8`). Only tags and notes differ between v2 and v8 for us.
    """

    def __init__(
        self,
        http: ZohoHttp,
        settings: CrmFields,
        *,
        org: str = "default",
        priority: Priority = Priority.COMMANDS,
        version: str = "v8",
    ) -> None:
        super().__init__(http, settings, org=org, priority=priority)
        self._version = version

    @property
    def finds_by_user_id(self) -> bool:
        """Whether an upsert matches by our id. Without such a field it goes by email alone."""
        return self._settings.zoho_crm_user_field is not None

    def user_of(self, contact: CrmContact) -> str | None:
        """Return the user whose contact it says it is: our id in its custom field."""
        field = self._settings.zoho_crm_user_field
        value = contact.fields.get(field) if field else None
        return str(value) if value else None

    @property
    def our_fields(self) -> tuple[str, ...]:
        """The custom fields that we write."""
        fields = (self._settings.zoho_crm_user_field, self._settings.zoho_crm_tier_field)
        return tuple(field for field in fields if field)

    async def upsert_contacts(self, contacts: Sequence[ContactToSend]) -> list[RowResult]:
        """Make or update at most 100 contacts, found by our unique field, then by email.

        The caller sees to it that no two rows have one email: what Zoho does then is not defined.
        The organization's automations run as the settings say.
        Row `DUPLICATE_DATA`: the email is one record's and our field another's. `id` names one.
        """
        fields = self._settings
        body: dict[str, Any] = {
            "data": [
                one.row(
                    user_field=fields.zoho_crm_user_field, tier_field=fields.zoho_crm_tier_field
                )
                for one in contacts
            ],
            "duplicate_check_fields": [
                name for name in (fields.zoho_crm_user_field, "Email") if name
            ],
        }
        body |= self._trigger
        reply = await self._call(_UPSERT, "/Contacts/upsert", json=body, weight=_tens(contacts))
        return rows_of(reply.body)

    async def update_contact(self, contact_id: str, contact: ContactToSend) -> RowResult:
        """Set our fields of one contact by its id (a changed email would upsert another one)."""
        fields = self._settings
        row = contact.row(
            user_field=fields.zoho_crm_user_field, tier_field=fields.zoho_crm_tier_field
        )
        body = {"data": [row], **self._trigger}
        reply = await self._call(_UPDATE, f"/Contacts/{contact_id}", json=body)
        return rows_of(reply.body)[0]

    @property
    def _trigger(self) -> Mapping[str, list[str]]:
        """The automations to start. Without the key, CRM starts all of them."""
        chosen = self._settings.zoho_crm_trigger
        return {} if chosen is None else {"trigger": [*chosen]}

    async def anonymize_contact(self, contact_id: str, fields: Mapping[str, Any]) -> RowResult:
        """Overwrite personal fields. Here, and only here, an empty value is meant to erase."""
        body = {"data": [dict(fields)], "trigger": []}
        reply = await self._call(_UPDATE, f"/Contacts/{contact_id}", json=body)
        return rows_of(reply.body)[0]

    async def contact(self, contact_id: str) -> CrmContact | None:
        """Return the contact, fresh. None when it was deleted or merged away (204)."""
        try:
            reply = await self._call(_GET, f"/Contacts/{contact_id}")
        except ZohoRejected as error:
            if error.zoho_code != "INVALID_DATA":
                raise
            return None  # the id is no contact's any more
        records = reply.body.get("data") or []
        return CrmContact.of(records[0]) if records else None

    async def contacts_with_email(self, email: str) -> list[CrmContact]:
        """Those whose email is this one. The search lags, and finds more than it is asked for."""
        reply = await self._call(_SEARCH, "/Contacts/search", params={"email": email})
        found = [CrmContact.of(record) for record in reply.body.get("data") or []]
        return [one for one in found if (one.email or "").casefold() == email.casefold()]

    async def contacts_modified(
        self, first: datetime, last: datetime
    ) -> AsyncIterator[tuple[list[CrmContact], datetime]]:
        """Yield the contacts modified in the range, with email and phone, oldest change first.

        Each page comes with the time up to which all are known by then. The last page's is `last`.
        COQL reads the records themselves, and does not lag as searches do.
        """
        while True:
            period = f"Modified_Time between '{_crm_time(first)}' and '{_crm_time(last)}'"
            page = await self._query(f"({period}) order by Modified_Time asc")
            at = page[-1].modified_time if page else None
            if len(page) < _COQL_ROWS or at is None:
                yield page, last
                return
            # Others of that second may be on no page: offsets shift while contacts change.
            earlier = [contact for contact in page if contact.modified_time != at]
            yield earlier + [contact async for contact in self._modified_at(at)], at
            first = at + timedelta(seconds=1)

    async def existing_contacts(
        self, user_ids: Sequence[str], emails: Sequence[str]
    ) -> list[CrmContact]:
        """Return the contacts that an upsert would match, by our field or by email, without lag.

        At most 50 of each, and none that holds a backslash: nothing says how it is written.
        """
        conditions = [_in("Email", emails)]
        if self._settings.zoho_crm_user_field:
            conditions.append(_in(self._settings.zoho_crm_user_field, user_ids))
        return await self._query(f"({' or '.join(conditions)})")

    async def open_channel(self, channel: ChannelToOpen) -> tuple[RowResult, datetime | None]:
        """Have CRM announce changes of contacts. Returns until when, as it was granted.

        CRM grants a week at most. What is asked for beyond silently becomes an hour.
        """
        return await self._set_channel(_OPEN_CHANNEL, channel)

    async def renew_channel(self, channel: ChannelToOpen) -> tuple[RowResult, datetime | None]:
        """Prolong a channel. The row `NOT_SUBSCRIBED`: it lapsed, or somebody has closed it."""
        return await self._set_channel(_RENEW_CHANNEL, channel)

    async def _set_channel(
        self, operation: Operation, channel: ChannelToOpen
    ) -> tuple[RowResult, datetime | None]:
        body = {"watch": [channel.row(_crm_time(channel.expires_at))]}
        reply = await self._call(operation, "/actions/watch", json=body)
        [row] = rows_of({"data": reply.body.get("watch") or [{}]})
        return row, granted_expiry(reply.body)

    async def _modified_at(self, moment: datetime) -> AsyncIterator[CrmContact]:
        """Yield every contact whose last change is dated with this second."""
        last_id = "0"
        while True:
            condition = f"(Modified_Time = '{_crm_time(moment)}' and id > '{last_id}')"
            page = await self._query(f"{condition} order by id asc")
            for contact in page:
                yield contact
            if len(page) < _COQL_ROWS:
                return
            last_id = page[-1].id

    async def _query(self, condition: str) -> list[CrmContact]:
        fields = ("Email", "Phone", "Modified_Time", self._settings.zoho_crm_user_field)
        columns = ", ".join(filter(None, fields))
        query = f"select {columns} from Contacts where {condition}"  # noqa: S608
        body = {"select_query": f"{query} limit {_COQL_ROWS}"}
        reply = await self._call(_COQL, "/coql", json=body)
        return [CrmContact.of(record) for record in reply.body.get("data") or []]

    async def add_tags(self, contact_ids: Sequence[str], tags: Sequence[str]) -> list[RowResult]:
        """Add tags to at most 500 contacts. The tags they have stay."""
        return await self._tags(_ADD_TAGS, "add_tags", contact_ids, tags)

    async def remove_tags(self, contact_ids: Sequence[str], tags: Sequence[str]) -> list[RowResult]:
        """Take tags away. One that a contact does not have is no error."""
        return await self._tags(_REMOVE_TAGS, "remove_tags", contact_ids, tags)

    async def create_note(self, contact_id: str, *, title: str, content: str) -> RowResult:
        """Put a note on a contact. Zoho makes another one each time: only inside an effect."""
        note: dict[str, Any] = {"Note_Title": title, "Note_Content": content}
        if self._version == "v2":
            note |= {"Parent_Id": contact_id, "se_module": "Contacts"}
        else:
            note["Parent_Id"] = {"module": {"api_name": "Contacts"}, "id": contact_id}
        reply = await self._call(CREATE_NOTE, "/Notes", json={"data": [note]})
        return rows_of(reply.body)[0]

    async def notes_of(self, contact_id: str) -> AsyncIterator[Note]:
        """Yield a contact's notes, `MOST_NOTES` at most, page by page.

        The oldest comes first, unless staff have the list sorted otherwise.
        Source: https://www.zoho.com/crm/developer/docs/api/v6/get-notes.html
        """
        params = {
            "fields": "Note_Title,Note_Content,Modified_Time",
            "per_page": str(_NOTES_A_PAGE),
        }
        path = f"/Contacts/{contact_id}/Notes"
        for page in range(1, MOST_NOTES // _NOTES_A_PAGE + 1):
            reply = await self._call(_LIST_NOTES, path, params={**params, "page": str(page)})
            notes = reply.body.get("data") or []
            for record in notes:
                yield Note.model_validate(record)
            if len(notes) < _NOTES_A_PAGE:
                return

    async def delete_note(self, note_id: str) -> RowResult:
        """Move a note to the recycle bin. One that is gone is `is_unknown_id`."""
        reply = await self._call(_DELETE_NOTE, f"/Notes/{note_id}")
        return rows_of(reply.body)[0]

    async def _tags(
        self, operation: Operation, action: str, contact_ids: Sequence[str], tags: Sequence[str]
    ) -> list[RowResult]:
        path = f"/Contacts/actions/{action}"
        weight = -(-len(contact_ids) // 50)
        if self._version == "v2":
            params = {"tag_names": ",".join(tags), "ids": ",".join(contact_ids)}
            reply = await self._call(operation, path, params=params, weight=weight)
        else:
            body = {"tags": [{"name": tag} for tag in tags], "ids": list(contact_ids)}
            reply = await self._call(operation, path, json=body, weight=weight)
        return rows_of(reply.body)


def _tens(contacts: Sequence[object]) -> int:
    """Credits of an upsert: one for each ten rows begun."""
    return max(1, -(-len(contacts) // 10))


def _in(field: str, values: Sequence[str]) -> str:
    """Return a condition of COQL. A quote is doubled (help.zoho.com, Kaizen 171)."""
    texts = [value.replace("'", "''") for value in values]
    return f"{field} in (" + ", ".join(f"'{text}'" for text in texts) + ")"


def _crm_time(moment: datetime) -> str:
    """`2026-01-31T10:00:00+00:00`, without fractions, as CRM wants it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")
