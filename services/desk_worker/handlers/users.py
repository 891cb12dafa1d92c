"""Remember who signed up with which email: the tickets of these users are watched."""

from __future__ import annotations

from services.desk_worker.repositories.users import Users
from shared.contracts.commands import UserSignedUp, UserUpdated
from shared.messaging.handling.unit_of_work import UnitOfWork

# A sign-up is older than any update, even than one that overtook it.
_ARRIVAL_OF_SIGN_UP = 0


async def know_user(message: UserSignedUp, work: UnitOfWork, *, users: Users) -> None:
    users.know(work, message.user_id, message.email, arrived=_ARRIVAL_OF_SIGN_UP)


async def know_new_email(message: UserUpdated, work: UnitOfWork, *, users: Users) -> None:
    if message.email is not None:
        users.know(work, message.user_id, message.email, arrived=work.arrived)
