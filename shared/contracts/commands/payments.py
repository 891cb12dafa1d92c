"""Payments: recorded, collected, refunded."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from shared.contracts.commands.command import About, Command
from shared.contracts.fields import AskedAmount, Currency, Day, Id, Reason
from shared.contracts.money import decimals_of, is_too_fine

# Zoho's payment modes, without `autotransaction`, which is a charge and never recorded by hand.
# Source: oas/billing/payments.yml
PaymentMode = Literal["check", "cash", "creditcard", "banktransfer", "bankremittance", "others"]


class PaymentRecordRequested(Command):
    """Record money that came by another way than a stored card. `payment.record_requested.v1`.

    `amount` has at most as many decimals as its currency: 2 for most, 0 for JPY, 3 for KWD.
    """

    routing_key: ClassVar[str] = "payment.record_requested.v1"

    user_id: Id
    payment_id: Id
    amount: AskedAmount
    currency: Currency
    mode: PaymentMode
    invoice_id: Id | None = None
    date: Day | None = None

    @model_validator(mode="after")
    def _has_its_currencys_decimals(self) -> Self:
        if is_too_fine(self.amount, self.currency):
            raise ValueError(
                f"amount must have at most {decimals_of(self.currency)} digits after the point"
                " in its currency"
            )
        return self

    def about(self) -> About:
        return About(user_id=self.user_id, names=(("payment", self.payment_id),))


class PaymentCollectRequested(Command):
    """Charge the customer's stored card for an invoice. `payment.collect_requested.v1`."""

    routing_key: ClassVar[str] = "payment.collect_requested.v1"

    invoice_id: Id

    def about(self) -> About:
        return About(named=(("invoice", self.invoice_id),))


class PaymentRefundRequested(Command):
    """Give back (a part of) a card payment. `payment.refund_requested.v1`.

    `amount` has at most as many decimals as the payment's currency.
    """

    routing_key: ClassVar[str] = "payment.refund_requested.v1"

    payment_id: Id
    refund_id: Id
    amount: AskedAmount
    reason: Reason

    def about(self) -> About:
        return About(named=(("payment", self.payment_id),))
