"""Define the commands that record, collect and refund payments."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from shared.contracts.commands.command import Command, References
from shared.contracts.fields import Currency, Day, Id, Reason, RequestedAmount
from shared.contracts.money import decimals_of, has_excess_decimals

# Zoho's payment modes, without `autotransaction`, which is a charge and never recorded by hand.
# Source: Zoho's OpenAPI file billing/payments.yml
PaymentMode = Literal["check", "cash", "creditcard", "banktransfer", "bankremittance", "others"]


class PaymentRecordRequested(Command):
    """Record money that came by another way than a stored card. `payment.record_requested.v1`.

    `amount` has at most as many decimals as its currency: 2 for most, 0 for JPY, 3 for KWD.
    """

    routing_key: ClassVar[str] = "payment.record_requested.v1"

    user_id: Id
    payment_id: Id
    amount: RequestedAmount
    currency: Currency
    mode: PaymentMode
    invoice_id: Id | None = None
    date: Day | None = None

    @model_validator(mode="after")
    def _has_its_currencys_decimals(self) -> Self:
        if has_excess_decimals(self.amount, self.currency):
            raise ValueError(
                f"amount must have at most {decimals_of(self.currency)} digits after the point"
                " in its currency"
            )
        return self

    def references(self) -> References:
        return References(user_id=self.user_id, introduced=(("payment", self.payment_id),))


class PaymentCollectRequested(Command):
    """Charge the customer's stored card for an invoice. `payment.collect_requested.v1`."""

    routing_key: ClassVar[str] = "payment.collect_requested.v1"

    invoice_id: Id

    def references(self) -> References:
        return References(mentioned=(("invoice", self.invoice_id),))


class PaymentRefundRequested(Command):
    """Refund all or part of a card payment. `payment.refund_requested.v1`.

    `amount` has at most as many decimals as the payment's currency.
    """

    routing_key: ClassVar[str] = "payment.refund_requested.v1"

    payment_id: Id
    refund_id: Id
    amount: RequestedAmount
    reason: Reason

    def references(self) -> References:
        return References(mentioned=(("payment", self.payment_id),))
