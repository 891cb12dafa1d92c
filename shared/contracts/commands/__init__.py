"""List every command that an application may publish on `zoho.commands`.

CONTRIBUTING.md says what a new command needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shared.contracts.commands.command import Command, References
from shared.contracts.commands.invoices import (
    InvoiceCreateRequested,
    InvoiceLine,
    InvoiceListRequested,
    InvoiceRequested,
    InvoiceVoidRequested,
    InvoiceWriteOffRequested,
)
from shared.contracts.commands.payments import (
    PaymentCollectRequested,
    PaymentRecordRequested,
    PaymentRefundRequested,
)
from shared.contracts.commands.reports import (
    ReportReceivablesRequested,
    ReportRevenueRequested,
    ReportSummaryRequested,
)
from shared.contracts.commands.subscriptions import (
    ChosenAddon,
    SubscriptionCancelRequested,
    SubscriptionChangeRequested,
    SubscriptionReactivateRequested,
    SubscriptionRequested,
)
from shared.contracts.commands.support import (
    SupportCloseRequested,
    SupportEscalated,
    SupportMessageAdded,
    SupportPriorityRaised,
    TranscriptTurn,
)
from shared.contracts.commands.users import (
    InteractionRecorded,
    UserErasureRequested,
    UserSignedUp,
    UserUpdated,
)
from shared.contracts.parsing import MAX_BODY_BYTES, parse
from shared.errors import InvalidMessage

COMMANDS: Mapping[str, type[Command]] = MappingProxyType(
    {
        model.routing_key: model
        for model in (
            UserSignedUp,
            UserUpdated,
            UserErasureRequested,
            SubscriptionRequested,
            SubscriptionChangeRequested,
            SubscriptionCancelRequested,
            SubscriptionReactivateRequested,
            PaymentRecordRequested,
            PaymentCollectRequested,
            PaymentRefundRequested,
            InvoiceCreateRequested,
            InvoiceRequested,
            InvoiceListRequested,
            InvoiceVoidRequested,
            InvoiceWriteOffRequested,
            ReportRevenueRequested,
            ReportReceivablesRequested,
            ReportSummaryRequested,
            InteractionRecorded,
            SupportEscalated,
            SupportMessageAdded,
            SupportPriorityRaised,
            SupportCloseRequested,
        )
    }
)


def parse_command(routing_key: str, body: bytes) -> Command:
    """Parse `body` as the command of this routing key.

    Raises:
        InvalidMessage: no such command (`unknown_command`), or it does not match its contract
            (`invalid_message`). The reason names fields and rules, never values.
    """
    model = COMMANDS.get(routing_key)
    if model is None:
        raise InvalidMessage("there is no command of this routing key", code="unknown_command")
    return parse(model, body)


__all__ = [
    "COMMANDS",
    "MAX_BODY_BYTES",
    "ChosenAddon",
    "Command",
    "InteractionRecorded",
    "InvoiceCreateRequested",
    "InvoiceLine",
    "InvoiceListRequested",
    "InvoiceRequested",
    "InvoiceVoidRequested",
    "InvoiceWriteOffRequested",
    "PaymentCollectRequested",
    "PaymentRecordRequested",
    "PaymentRefundRequested",
    "References",
    "ReportReceivablesRequested",
    "ReportRevenueRequested",
    "ReportSummaryRequested",
    "SubscriptionCancelRequested",
    "SubscriptionChangeRequested",
    "SubscriptionReactivateRequested",
    "SubscriptionRequested",
    "SupportCloseRequested",
    "SupportEscalated",
    "SupportMessageAdded",
    "SupportPriorityRaised",
    "TranscriptTurn",
    "UserErasureRequested",
    "UserSignedUp",
    "UserUpdated",
    "parse_command",
]
