"""Write random commands of one user, and say what Zoho must hold once they are all done."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field

from services.zoho_sandbox.driver import Json
from tests.kit.people import email_of, sign_up_of

PLANS = ("basic-monthly", "pro-monthly")


@dataclass(frozen=True)
class Published:
    """A command as it is published. `refused`: the code under which it has to be given up."""

    routing_key: str
    body: Json
    refused: str | None = None
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class SubscriptionAccount:
    """One subscription as its last command left it."""

    subscription_id: str
    plan: str
    status: str = "live"


@dataclass
class UserAccount:
    """One user: the commands in their order, and the state after the last of them."""

    chance: random.Random
    user_id: str = field(default_factory=lambda: f"u-{uuid.uuid4().hex[:12]}")
    phone: str | None = None
    last_name: str = ""
    subscriptions: list[SubscriptionAccount] = field(default_factory=list)
    payments: list[str] = field(default_factory=list)
    interactions: list[str] = field(default_factory=list)
    escalations: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    @property
    def email(self) -> str:
        return email_of(self.user_id)

    def commands(self, count: int) -> list[Published]:
        """A sign-up, then `count` random commands, then a change of name that comes last."""
        steps = (
            self._update,
            self._update,
            self._subscribe,
            self._change,
            self._cancel_or_reactivate,
            self._cancel_or_reactivate,
            self._end,
            self._pay,
            self._interact,
            self._escalate,
            self._comment,
        )
        written = [Published("user.signed_up.v1", sign_up_of(self.user_id))]
        while len(written) <= count:
            command = self.chance.choice(steps)()
            if command is not None:
                written.append(command)
        self.last_name = f"Lastly-{self.user_id[-6:]}"
        return [*written, self._of_user("user.updated.v1", full_name=f"Fina {self.last_name}")]

    def _of_user(self, routing_key: str, **fields: object) -> Published:
        return Published(routing_key, {"user_id": self.user_id, **fields})

    def _id(self, kind: str) -> str:
        return f"{kind}-{self.chance.getrandbits(48):012x}"

    def _update(self) -> Published:
        self.phone = f"+49 30 {self.chance.randrange(100_000, 999_999)}"
        return self._of_user("user.updated.v1", phone=self.phone)

    def _subscribe(self) -> Published | None:
        if len(self.subscriptions) == 3:
            return None
        made = SubscriptionAccount(self._id("s"), self.chance.choice(PLANS))
        self.subscriptions.append(made)
        return self._of_user(
            "subscription.requested.v1",
            subscription_id=made.subscription_id,
            plan_code=made.plan,
        )

    def _change(self) -> Published | None:
        if not self.subscriptions:
            return None
        account = self.chance.choice(self.subscriptions)
        if account.status == "non_renewing":
            return None  # what Zoho makes of that is not what is tested here
        plan = next(plan for plan in PLANS if plan != account.plan)
        over = account.status == "cancelled"
        if not over:
            account.plan = plan
        return Published(
            "subscription.change_requested.v1",
            {"subscription_id": account.subscription_id, "plan_code": plan},
            refused="subscription_ended" if over else None,
        )

    def _cancel_or_reactivate(self) -> Published | None:
        running = [s for s in self.subscriptions if s.status != "cancelled"]
        if not running:
            return None
        account = self.chance.choice(running)
        verb = "cancel" if account.status == "live" else "reactivate"
        account.status = "non_renewing" if account.status == "live" else "live"
        return Published(
            f"subscription.{verb}_requested.v1", {"subscription_id": account.subscription_id}
        )

    def _end(self) -> Published | None:
        if not self.subscriptions or self.chance.random() < 0.5:
            return None
        account = self.chance.choice(self.subscriptions)
        account.status = "cancelled"
        return Published(
            "subscription.cancel_requested.v1",
            {"subscription_id": account.subscription_id, "at_term_end": False},
        )

    def _pay(self) -> Published:
        self.payments.append(self._id("p"))
        return self._of_user(
            "payment.record_requested.v1",
            payment_id=self.payments[-1],
            amount=f"{self.chance.randrange(1, 90)}.00",
            currency="USD",
            mode="cash",
        )

    def _interact(self) -> Published:
        self.interactions.append(self._id("i"))
        return self._of_user(
            "interaction.recorded.v1",
            interaction_id=self.interactions[-1],
            title="A call",
            content="They asked for an invoice.",
        )

    def _escalate(self) -> Published | None:
        if self.escalations:
            return None
        self.escalations.append(self._id("e"))
        return self._of_user(
            "support.escalated.v1",
            escalation_id=self.escalations[-1],
            email=self.email,
            subject="Help",
            description="Charged twice.",
            transcript="user: I was charged twice.",
        )

    def _comment(self) -> Published | None:
        if not self.escalations:
            return None
        self.comments.append(self._id("m"))
        return Published(
            "support.message_added.v1",
            {
                "escalation_id": self.escalations[0],
                "message_id": self.comments[-1],
                "author": "user",
                "content": "Any news?",
                "is_public": True,
            },
        )
