"""Each user's commands take effect in the order in which one publisher sent them.

Whatever happens meanwhile, and however many replicas there are: the state of each user at Zoho is
that of the last command.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass

import pytest

from deploy.driving.system_driver import SystemDriver
from deploy.local.stack import Stack
from services.zoho_sandbox.driver import Json
from tests.chaos import upheavals
from tests.chaos.accounts import Published
from tests.chaos.hearing import Hearing
from tests.chaos.publisher import publish_in_turns
from tests.chaos.upheavals import Publishing, Upheaval
from tests.kit.people import email_of, sign_up_of
from tests.kit.whole_system import all_published, more_replicas, stage_of

WORKERS = ("billing-worker", "crm-worker")
FIRST_PHONE, LAST_PHONE = "+49 30 111111", "+49 30 222222"
LAST_NAME = "Lastly"
UPHEAVALS = (
    upheavals.quiet,
    upheavals.postgresql_away,
    upheavals.rabbitmq_restarts,
    upheavals.killed,
)


@dataclass(frozen=True)
class Customer:
    """One user, the things that the commands name, and what has to be true in the end."""

    user_id: str

    @property
    def email(self) -> str:
        return email_of(self.user_id)

    @property
    def kept(self) -> str:
        return f"{self.user_id}-kept"

    @property
    def ended(self) -> str:
        return f"{self.user_id}-ended"

    @property
    def invoice(self) -> str:
        return f"{self.user_id}-invoice"

    def commands(self) -> list[Published]:
        """Pairs whose second command undoes the first, then a change that comes last of all."""
        user = {"user_id": self.user_id}
        line = {"description": "Hours", "quantity": 1, "rate": "10.00"}
        return [
            Published("user.updated.v1", {**user, "phone": FIRST_PHONE}),
            Published("user.updated.v1", {**user, "phone": LAST_PHONE}),
            Published("subscription.cancel_requested.v1", {"subscription_id": self.kept}),
            Published("subscription.reactivate_requested.v1", {"subscription_id": self.kept}),
            Published(
                "subscription.change_requested.v1",
                {"subscription_id": self.ended, "plan_code": "pro-monthly"},
            ),
            Published(
                "subscription.cancel_requested.v1",
                {"subscription_id": self.ended, "at_term_end": False},
            ),
            Published(
                "invoice.create_requested.v1",
                {**user, "invoice_id": self.invoice, "lines": [line]},
            ),
            Published(
                "invoice.void_requested.v1", {"invoice_id": self.invoice, "reason": "a test"}
            ),
            Published("user.updated.v1", {**user, "full_name": f"Fina {LAST_NAME}"}),
        ]


@pytest.mark.chaos
@pytest.mark.parametrize("upheaval", [*UPHEAVALS, upheavals.hanging])
@pytest.mark.parametrize("replicas", [1, 3])
async def test_commands_take_effect_in_the_order_in_which_they_were_published(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, stage, upheaval, count=100, replicas=replicas)


@pytest.mark.parametrize(
    "upheaval",
    [
        *UPHEAVALS,
        upheavals.frozen,
        pytest.param(upheavals.hanging, marks=pytest.mark.chaos),
    ],
)
@pytest.mark.parametrize("replicas", [1, 3])
async def test_the_commands_of_a_few_take_effect_in_their_order(
    stack: Stack, stage: SystemDriver, replicas: int, upheaval: Upheaval
) -> None:
    await _through(stack, stage, upheaval, count=5, replicas=replicas)


async def _through(
    stack: Stack, stage: SystemDriver, upheaval: Upheaval, *, count: int, replicas: int
) -> None:
    """So many users' commands come during an upheaval. All must end as their last ones say."""
    customers = [Customer(f"u-{uuid.uuid4().hex[:12]}") for _ in range(count)]
    await _settle_in(stage, customers)
    async with (
        Hearing(stack, "command.failed.v1") as failures,
        more_replicas(stack, WORKERS, count=replicas),
    ):
        publishing = Publishing()
        async with upheaval(stack, [(worker, 1) for worker in WORKERS], publishing):
            commands = [customer.commands() for customer in customers]
            await publish_in_turns(stack, commands, publishing)
        async with stage_of(stack) as after:  # the first one's connection may be gone
            await _all_done(after, customers)
            ends = await _ends(after, customers)
        await all_published(stack)
        refused = await failures.counts(lambda event: event["code"], at_least=())

    print(f"\nin order, of {count}: {ends}")
    assert ends == dict.fromkeys(ends, count)
    assert not refused


async def _settle_in(stage: SystemDriver, customers: Collection[Customer]) -> None:
    """Everybody has signed up, has two subscriptions, and is known everywhere."""
    for customer in customers:
        await stage.publish("user.signed_up.v1", sign_up_of(customer.user_id))
        for subscription_id in (customer.kept, customer.ended):
            await stage.publish(
                "subscription.requested.v1",
                {
                    "user_id": customer.user_id,
                    "subscription_id": subscription_id,
                    "plan_code": "basic-monthly",
                },
            )
    for customer in customers:
        await stage.event("contact.synced.v1", user_id=customer.user_id)
        for subscription_id in (customer.kept, customer.ended):
            await stage.event("subscription.changed.v1", subscription_id=subscription_id)
    emails = {customer.email for customer in customers}
    await _holds(stage, "books", "contacts", lambda held: emails <= {c["email"] for c in held})


async def _all_done(stage: SystemDriver, customers: Collection[Customer]) -> None:
    """The last command of every user has reached both products."""
    emails = {customer.email for customer in customers}

    def renamed(email: str, name: str) -> Callable[[list[Json]], bool]:
        return lambda held: (
            emails <= {str(r[email]) for r in held if str(r.get(name)).endswith(LAST_NAME)}
        )

    await _holds(stage, "billing", "customers", renamed("email", "display_name"))
    await _holds(stage, "crm", "contacts", renamed("Email", "Last_Name"))


async def _ends(stage: SystemDriver, customers: Collection[Customer]) -> dict[str, int]:
    """How many users ended as their last commands say, for each pair of commands."""
    state = await stage.sandbox.state()
    billing, contacts = state["billing"], state["crm"]["contacts"]
    phone = {c["email"]: str(c.get("phone")) for c in billing["customers"]}
    crm_phone = {c["Email"]: str(c.get("Phone")) for c in contacts}
    subscriptions = {s.get("reference_id"): s for s in billing["subscriptions"]}
    invoices = {
        field["value"]: invoice["status"]
        for invoice in state["books"]["invoices"]
        for field in invoice.get("custom_fields", ())
    }
    return {
        "updates in Billing": sum(phone[c.email] == LAST_PHONE for c in customers),
        "updates in CRM": sum(crm_phone[c.email] == LAST_PHONE for c in customers),
        "cancel, then reactivate": sum(
            subscriptions[c.kept]["status"] == "live" for c in customers
        ),
        "change, then cancel": sum(
            subscriptions[c.ended]["status"] == "cancelled"
            and subscriptions[c.ended]["plan"]["plan_code"] == "pro-monthly"
            for c in customers
        ),
        "create, then void": sum(invoices.get(c.invoice) == "void" for c in customers),
    }


async def _holds(
    stage: SystemDriver, product: str, kind: str, like: Callable[[list[Json]], bool]
) -> None:
    """Return once what Zoho holds of this kind is like this. Raises TimeoutError."""
    async with asyncio.timeout(240):
        while not like(await stage.sandbox.records(product, kind)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
