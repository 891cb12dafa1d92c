"""Define the events of users, as customers in Billing and as contacts in CRM."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.contracts.events.event import UserEvent
from shared.contracts.fields import Email, Id, Instant, Phone
from shared.contracts.outgoing import OutgoingModel
from shared.contracts.tier import Tier
from shared.contracts.webhooks import Product


class CustomerCreated(UserEvent):
    """The user is a customer in Billing. `customer.created.v1`."""

    routing_key: ClassVar[str] = "customer.created.v1"
    carries_state: ClassVar[bool] = True

    adopted: bool = False  # there was one already that belonged to nobody else
    # Fields of the sign-up that are not certain. The customer is there without them.
    left_out: tuple[Literal["phone"], ...] = ()

    def subject(self) -> str:
        return f"customer:{self.user_id}"


class _ContactEvent(UserEvent):
    carries_state: ClassVar[bool] = True

    def subject(self) -> str:
        return f"contact:{self.user_id}"


class ContactSynced(_ContactEvent):
    """The user's CRM contact holds what we know. `contact.synced.v1`."""

    routing_key: ClassVar[str] = "contact.synced.v1"

    tier: Tier
    # Of ours, those that the contact has.
    tags: tuple[str, ...] = ()
    # Fields that CRM does not accept as they were sent. The contact is there without them.
    left_out: tuple[Literal["phone", "first_name"], ...] = ()


class ContactFields(OutgoingModel):
    """Fields of a contact as staff left them. Absent ones did not change.

    An empty phone was removed.
    """

    email: Email | None = None
    phone: Phone | None = None


class ContactChanged(_ContactEvent):
    """Staff changed the email or the phone of the user's CRM contact. `contact.changed.v1`."""

    routing_key: ClassVar[str] = "contact.changed.v1"

    change: Literal["edited"] = "edited"
    fields: ContactFields


class ErasedRecords(OutgoingModel):
    """Records of one kind that an erasure deleted or emptied (`contact`, `card`, `note`)."""

    what: str
    count: Annotated[int, Field(ge=1)]


class Kept(OutgoingModel):
    """What still exists after an erasure, and why: by law, by configuration, or for a time.

    `ids`: the application's ids, where it knows the records. `days`: how long at most. Absent, it
    has no end that the relay knows.
    """

    what: str
    reason: str
    ids: tuple[Id, ...] = ()
    count: Annotated[int, Field(ge=0)] = 0
    days: int | None = None


class ErasedPart(OutgoingModel):
    """What one product has erased and kept of a user."""

    product: Product
    erased: tuple[ErasedRecords, ...] = ()
    kept: tuple[Kept, ...] = ()
    ended_at: Instant


class UserErased(UserEvent):
    """The receipt of an erasure. `user.erased.v1`.

    `kept`: what the relay itself still holds, in ciphertext or as digests. The products' own are
    in `parts`.
    """

    routing_key: ClassVar[str] = "user.erased.v1"

    asked_at: Instant
    parts: tuple[ErasedPart, ...] = ()
    kept: tuple[Kept, ...] = ()
    longest_retention_days: int
