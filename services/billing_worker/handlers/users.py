"""Create and update the customer of a user."""

from __future__ import annotations

from services.billing_worker.customers.customers import Customers
from services.billing_worker.customers.free_name import with_free_name
from services.billing_worker.customers.user_fields import (
    display_names,
    user_fields_in,
    without_outdated,
)
from services.billing_worker.repositories.users import FROM_SIGN_UP, Users
from shared.contracts.commands import UserSignedUp, UserUpdated
from shared.errors import NotYetKnown
from shared.messaging.handling.unit_of_work import UnitOfWork
from shared.zoho.products.billing.client import ZohoBilling


async def sign_up(
    message: UserSignedUp, work: UnitOfWork, *, users: Users, customers: Customers
) -> None:
    fields = user_fields_in(message.model_dump(exclude_none=True))
    user = await users.store(work, message.user_id, fields, arrived=FROM_SIGN_UP)
    phone_is_dropped = bool(message.phone) and "phone" not in fields
    await customers.ensure(user, work, left_out=("phone",) if phone_is_dropped else ())


async def update_user(
    message: UserUpdated, work: UnitOfWork, *, users: Users, zoho: ZohoBilling
) -> None:
    user = await users.get(work.org, message.user_id)
    if user is None or user.email is None:
        raise NotYetKnown("no sign-up of this user arrived yet", key=message.user_id)
    changes = without_outdated(user, user_fields_in(message.changes()), arrived=work.arrived)
    if not changes:
        return
    fields: dict[str, str] = {**user.fields, **{str(f): v for f, v in changes.items()}}
    if user.customer_id is not None and fields != user.fields:
        customer_id = user.customer_id

        async def update(name: str) -> None:
            await zoho.update_customer(
                customer_id,
                display_name=name,
                email=fields["email"],
                # An empty text clears Zoho's field, None leaves it. Only known fields are sent.
                first_name=fields.get("first_name"),
                last_name=fields.get("last_name"),
                phone=fields.get("phone"),
            )

        await with_free_name(display_names(fields, user.user_id), update)
    await users.record_fields(work, message.user_id, changes)
