"""Users come and change."""

from __future__ import annotations

from services.billing_worker.customers.customers import Customers
from services.billing_worker.customers.user_fields import display_name, merged, person_fields
from services.billing_worker.repositories.users import SIGN_UP, Users
from shared.contracts.commands import UserSignedUp, UserUpdated
from shared.errors import NotYetKnown
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.billing.client import ZohoBilling


async def sign_up(
    message: UserSignedUp, work: UnitOfWork, *, users: Users, customers: Customers
) -> None:
    given = person_fields(message.model_dump(exclude_none=True))
    user = await users.store(work.org, message.user_id, given, arrived=SIGN_UP)
    await customers.ensure(user, work)


async def update_user(
    message: UserUpdated, work: UnitOfWork, *, users: Users, zoho: ZohoBilling
) -> None:
    user = await users.get(work.org, message.user_id)
    if user is None or user.email is None:
        raise NotYetKnown("no sign-up of this user arrived yet")
    changes = merged(user, person_fields(message.changes()), arrived=work.arrived)
    if not changes:
        return
    fields: dict[str, str] = {**user.fields, **{str(f): v for f, v in changes.items()}}
    if user.customer_id is not None and fields != user.fields:
        await zoho.update_customer(
            user.customer_id,
            display_name=display_name(fields),
            email=fields["email"],
            # An empty text empties Zoho's field, None leaves it: only what we know is sent.
            first_name=fields.get("first_name"),
            last_name=fields.get("last_name"),
            phone=fields.get("phone"),
        )
    await users.record_fields(work, message.user_id, changes)
