"""List every event that is published on `zoho.events`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shared.contracts.events.billing import (
    InvoiceChanged,
    InvoiceIssued,
    PaymentFailed,
    PaymentSucceeded,
    SubscribedAddon,
    SubscriptionChanged,
)
from shared.contracts.events.event import Event, Origin
from shared.contracts.events.failures import CommandFailed
from shared.contracts.events.notifications import (
    NOTICES,
    CardExpiringNotice,
    NotificationRequested,
    PaymentFailedNotice,
    PaymentRefundedNotice,
    SubscriptionCancelledNotice,
    SubscriptionExpiredNotice,
    SubscriptionRenewedNotice,
    TicketCreatedNotice,
    TicketResolvedNotice,
    TicketUpdatedNotice,
    TrialEndingNotice,
)
from shared.contracts.events.support import TicketChanged, TicketCreated, TicketResolved
from shared.contracts.events.users import (
    ContactChanged,
    ContactFields,
    ContactSynced,
    CustomerCreated,
    ErasedPart,
    ErasedRecords,
    Kept,
    UserErased,
)

EVENTS: Mapping[str, type[Event]] = MappingProxyType(
    {
        model.routing_key: model
        for model in (
            CustomerCreated,
            ContactSynced,
            ContactChanged,
            SubscriptionChanged,
            PaymentSucceeded,
            PaymentFailed,
            InvoiceIssued,
            InvoiceChanged,
            TicketCreated,
            TicketChanged,
            TicketResolved,
            UserErased,
            NotificationRequested,
            CommandFailed,
        )
    }
)

__all__ = [
    "EVENTS",
    "NOTICES",
    "CardExpiringNotice",
    "CommandFailed",
    "ContactChanged",
    "ContactFields",
    "ContactSynced",
    "CustomerCreated",
    "ErasedPart",
    "ErasedRecords",
    "Event",
    "InvoiceChanged",
    "InvoiceIssued",
    "Kept",
    "NotificationRequested",
    "Origin",
    "PaymentFailed",
    "PaymentFailedNotice",
    "PaymentRefundedNotice",
    "PaymentSucceeded",
    "SubscribedAddon",
    "SubscriptionCancelledNotice",
    "SubscriptionChanged",
    "SubscriptionExpiredNotice",
    "SubscriptionRenewedNotice",
    "TicketChanged",
    "TicketCreated",
    "TicketCreatedNotice",
    "TicketResolved",
    "TicketResolvedNotice",
    "TicketUpdatedNotice",
    "TrialEndingNotice",
    "UserErased",
]
