"""Describe one movement of money, the moment at which it is disturbed, and how it ended."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from deploy.driving.system_driver import SystemDriver
from services.zoho_sandbox.driver import Json
from tests.kit.people import email_of, sign_up_of

Kind = Literal["collect", "decline", "refund"]

LOST: Final = ("reset_after", "timeout_after")
HELD: Final = ("hold", "hold_after", "hold_reset")
AT_A_GATE: Final = ("result", "settle")
MOMENTS: Final = (*LOST, *HELD, *AT_A_GATE)
# In one group only one message at a time is committed, so one at most waits at that gate.
_ONE_OF_A_BATCH: Final = "settle"


@dataclass
class MoneyRun:
    """One command that moves money, or tries to. `card_id` and `customer_id` are Zoho's."""

    kind: Kind
    moment: str
    user_id: str = field(default_factory=lambda: f"m-{uuid.uuid4().hex[:10]}")
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invoice_id: str = ""
    payment_id: str = ""
    customer_id: str = ""
    card_id: str = ""

    @property
    def refund_id(self) -> str:
        return f"ref-{self.user_id}"

    @property
    def mark(self) -> str:
        """What only the body of this run's call to Zoho has."""
        return self.refund_id if self.kind == "refund" else self.card_id

    @property
    def operation(self) -> str:
        """The sandbox's name of the call that moves the money."""
        return "refund_payment" if self.kind == "refund" else "collect_charge"

    @property
    def business_id(self) -> str:
        """The key in the effects journal."""
        return self.refund_id if self.kind == "refund" else self.invoice_id

    async def prepare(self, stage: SystemDriver) -> None:
        """An unpaid invoice of a customer with a card, or a card's payment to refund."""
        await stage.publish("user.signed_up.v1", sign_up_of(self.user_id))
        subscription = {"subscription_id": f"s-{self.user_id}", "plan_code": "basic-monthly"}
        await stage.publish("subscription.requested.v1", {"user_id": self.user_id, **subscription})
        issued = await stage.event("invoice.issued.v1", user_id=self.user_id)
        self.invoice_id = issued["invoice_id"]
        email = email_of(self.user_id)
        customer = await stage.sandbox.wait_for_record("billing", "customers", email=email)
        self.customer_id = customer["customer_id"]
        self.card_id = (await stage.sandbox.add_card(self.customer_id))["card_id"]
        if self.kind == "decline":
            await stage.sandbox.decline_next(self.customer_id)
        if self.kind == "refund":
            await stage.publish("payment.collect_requested.v1", {"invoice_id": self.invoice_id})
            paid = await stage.event("payment.succeeded.v1", user_id=self.user_id)
            self.payment_id = paid["payment_id"]

    async def disturb(self, stage: SystemDriver) -> None:
        """Order the fault of this run's moment, for its own call alone."""
        if self.moment not in AT_A_GATE:
            await stage.sandbox.fault(
                "billing", self.moment, operation=self.operation, body_contains=self.mark, times=1
            )

    async def ask(self, stage: SystemDriver) -> None:
        body: Json = {"invoice_id": self.invoice_id}
        verb = "collect"
        if self.kind == "refund":
            verb = "refund"
            body = {"payment_id": self.payment_id, "refund_id": self.refund_id, "amount": "4",
                    "reason": "sorry"}  # fmt: skip
        await stage.publish(f"payment.{verb}_requested.v1", body, message_id=self.message_id)

    @property
    def expected(self) -> tuple[str, int, int]:
        """How it has to end: state or code, how often money moved, how often a card refused.

        Nobody may charge again while nothing proves that the first charge failed. A refund that
        did not happen is proven by the payment, which shows every refund.
        """
        if self.moment == "hold_reset" and self.kind != "refund":
            return "outcome_unknown", 0, 0
        return ("done", 0, 1) if self.kind == "decline" else ("done", 1, 0)

    def moved(self, state: Json) -> tuple[int, int]:
        """How often money moved by this command, and how often a card refused."""
        billing = state["billing"]
        if self.kind == "refund":
            given_back = [r for r in billing["refunds"] if self.refund_id in r["description"]]
            return len(given_back), 0
        mine = [p["status"] for p in billing["payments"] if p["customer_id"] == self.customer_id]
        return mine.count("success"), mine.count("failure")


def batches(count: int, size: int, seed: int) -> list[list[MoneyRun]]:
    """`count` runs: every kind at every moment, in an order of the seed's, `size` at a time."""
    kinds: tuple[Kind, ...] = ("collect", "decline", "refund")
    every = [(kind, moment) for kind in kinds for moment in MOMENTS]
    wanted = (every * (count // len(every) + 1))[:count]
    random.Random(seed).shuffle(wanted)  # noqa: S311 - a test repeats it
    made: list[list[MoneyRun]] = []
    for kind, moment in wanted:
        run = MoneyRun(kind, moment)
        batch = next((b for b in made if len(b) < size and _has_room(b, moment)), None)
        if batch is None:
            made.append(batch := [])
        batch.append(run)
    return made


def _has_room(batch: Sequence[MoneyRun], moment: str) -> bool:
    return moment != _ONE_OF_A_BATCH or moment not in [run.moment for run in batch]


async def prepared(stage: SystemDriver, runs: Sequence[MoneyRun]) -> None:
    await asyncio.gather(*(run.prepare(stage) for run in runs))
    for run in runs:
        await run.disturb(stage)
