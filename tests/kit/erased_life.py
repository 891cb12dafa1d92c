"""A user who does all that the relay knows, with words in it that a search finds."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from deploy.driving.system_driver import SystemDriver
from services.zoho_sandbox.driver import Json
from tests.kit.leak_search import Needle


@dataclass
class ErasedLife:
    """One user. `email_word` and the others stand in that field only, and nowhere else."""

    user_id: str = field(default_factory=lambda: f"life-{secrets.token_hex(5)}")
    email_word: str = field(default_factory=lambda: f"quill{secrets.token_hex(6)}")
    name_word: str = field(default_factory=lambda: f"Ada{secrets.token_hex(6)}")
    words: str = field(default_factory=lambda: f"refund{secrets.token_hex(6)}")
    phone: str = field(default_factory=lambda: f"+4930{secrets.randbelow(9 * 10**9) + 10**9}")
    _subscription: Json = field(default_factory=dict)

    @property
    def email(self) -> str:
        return f"{self.email_word}@example.com"

    @property
    def subscription_id(self) -> str:
        return f"s-{self.user_id}"

    @property
    def escalation_id(self) -> str:
        return f"e-{self.user_id}"

    def needles(self) -> Iterator[Needle]:
        yield Needle("email", self.email_word)
        yield Needle("name", self.name_word)
        yield Needle("phone", self.phone)
        yield Needle("transcript", self.words)

    def _sign_up(self) -> Json:
        return {
            "user_id": self.user_id,
            "email": self.email,
            "full_name": f"Ada {self.name_word}",
            "phone": self.phone,
        }

    def _escalation(self, escalation_id: str) -> Json:
        return {
            "escalation_id": escalation_id,
            "email": self.email,
            "subject": f"{escalation_id}: {self.words}",
            "description": f"{self.name_word} insists on a person.",
            "transcript": f"user: {self.words}, call {self.phone}.",
        }

    async def live(self, stage: SystemDriver) -> None:
        """Everything is done when this returns, and what failed was given up."""
        await stage.publish("user.signed_up.v1", self._sign_up())
        await stage.event("customer.created.v1", user_id=self.user_id)
        await stage.event("contact.synced.v1", user_id=self.user_id)
        await self._pay(stage)
        await self._talk(stage)
        await self._fail(stage)

    async def _pay(self, stage: SystemDriver) -> None:
        """Subscribe, pay the first invoice, get money back, cancel. A renewal comes by webhook."""
        await stage.publish(
            "subscription.requested.v1",
            {
                "user_id": self.user_id,
                "subscription_id": self.subscription_id,
                "plan_code": "basic-monthly",
            },
        )
        issued = await stage.event("invoice.issued.v1", user_id=self.user_id)
        customer = await stage.sandbox.wait_for_record("billing", "customers", email=self.email)
        await stage.sandbox.add_card(customer["customer_id"])
        await stage.publish("payment.collect_requested.v1", {"invoice_id": issued["invoice_id"]})
        paid = await stage.event("payment.succeeded.v1", user_id=self.user_id)
        await stage.publish(
            "payment.refund_requested.v1",
            {
                "payment_id": paid["payment_id"],
                "refund_id": f"r-{self.user_id}",
                "amount": "4",
                "reason": "sorry",
            },
        )
        await stage.event(
            "notification.requested.v1", template="payment_refunded", user_id=self.user_id
        )
        self._subscription = await stage.sandbox.wait_for_record(
            "billing", "subscriptions", reference_id=self.subscription_id
        )
        await stage.sandbox.renew(self._subscription["subscription_id"])
        await stage.event(
            "subscription.changed.v1", subscription_id=self.subscription_id, cause="renewed"
        )
        await stage.publish(
            "subscription.cancel_requested.v1",
            {"subscription_id": self.subscription_id, "at_term_end": True},
        )
        await stage.event(
            "subscription.changed.v1", subscription_id=self.subscription_id, status="non_renewing"
        )

    async def _talk(self, stage: SystemDriver) -> None:
        """A note in CRM, a ticket that staff closes, and one that named no user."""
        await stage.publish(
            "interaction.recorded.v1",
            {
                "user_id": self.user_id,
                "interaction_id": f"i-{self.user_id}",
                "title": f"A call of {self.name_word}",
                "content": f"Asked for a {self.words}, as {self.email}.",
            },
        )
        for escalation_id, user in ((self.escalation_id, {"user_id": self.user_id}),
                                    (f"n-{self.user_id}", {})):  # fmt: skip
            await stage.publish("support.escalated.v1", self._escalation(escalation_id) | user)
            await stage.event("ticket.created.v1", escalation_id=escalation_id)
            comment = _comment(escalation_id, self.words)
            await stage.publish("support.message_added.v1", comment)
            ticket = await stage.zoho(
                "desk", "tickets", "ticket", lambda t, part=escalation_id: part in t["subject"]
            )
            await stage.zoho(
                "desk", "comments", "comment", lambda c, on=ticket["id"]: c["ticketId"] == on
            )
            await stage.sandbox.ticket(ticket["id"], "close")
            await stage.event("ticket.resolved.v1", escalation_id=escalation_id)

    async def _fail(self, stage: SystemDriver) -> None:
        """Commands that are given up: in the user's line, in an email's, and in nobody's."""
        other = {"description": f"Another one of {self.name_word}."}
        failing: list[tuple[str, Json, str]] = [
            ("support.escalated.v1",
             self._escalation(self.escalation_id) | other | {"user_id": self.user_id},
             "id_taken"),
            ("support.escalated.v1", self._escalation(f"n-{self.user_id}") | other, "id_taken"),
            ("subscription.requested.v1",
             {"user_id": self.user_id, "subscription_id": f"x-{self.user_id}",
              "plan_code": "no-such-plan", "email": self.email,
              "full_name": f"Ada {self.name_word}"},
             ""),
            ("user.signed_up.v1", self._sign_up() | {"email": f"{self.email_word} at home"},
             "invalid_message"),
        ]  # fmt: skip
        for n, (routing_key, body, code) in enumerate(failing):
            message_id = f"{secrets.token_hex(8)}-{n}"
            await stage.publish(routing_key, body, message_id=message_id)
            expected = {"code": code} if code else {}
            await stage.event("command.failed.v1", message_id=message_id, **expected)

    async def come_late(self, stage: SystemDriver) -> None:
        """What comes after the erasure: a webhook with the name in it, and commands."""
        customer = {"display_name": f"Ada {self.name_word}", "email": self.email}
        data = {"subscription": {**self._subscription, "customer": customer}}
        await stage.sandbox.billing_event("subscription_renewed", data)
        await stage.sandbox.wait_until_delivered(product="billing")
        late = [
            ("user.signed_up.v1", self._sign_up(), "billing-worker"),
            ("support.escalated.v1",
             self._escalation(self.escalation_id) | {"user_id": self.user_id}, "desk-worker"),
            ("support.message_added.v1", _comment(f"n-{self.user_id}", self.words), "desk-worker"),
        ]  # fmt: skip
        for routing_key, body, service in late:
            message_id = secrets.token_hex(8)
            await stage.publish(routing_key, body, message_id=message_id)
            await stage.event(
                "command.failed.v1", message_id=message_id, service=service, code="erased"
            )


def _comment(escalation_id: str, content: str) -> Json:
    return {
        "escalation_id": escalation_id,
        "message_id": f"m-{escalation_id}",
        "author": "user",
        "content": content,
        "is_public": True,
    }
