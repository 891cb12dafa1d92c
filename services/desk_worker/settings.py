"""Define the settings of desk-worker."""

from __future__ import annotations

from typing import Literal

from shared.contracts.fields import Email
from shared.environment import Port, Seconds, for_service
from shared.worker import WorkerSettings
from shared.zoho.products.desk.settings import DeskAccess, DeskOrganization


class Settings(WorkerSettings, DeskAccess, DeskOrganization):
    model_config = for_service("desk-worker")

    metrics_port: Port = 9104
    # Two searches cost 6 credits of the day: every four minutes is 2,160 of a free portal's 5,000.
    desk_poll_every_s: Seconds = 240.0
    # Desk's search index lags by minutes. A change that is read twice is announced once.
    desk_poll_overlap_s: Seconds = 900.0
    # The requester of a ticket when Desk refuses the user's own address. `.invalid` never has a
    # mailbox (RFC 2606), so Desk's automatic reply reaches nobody.
    desk_fallback_email: Email = "unknown.requester@desk.invalid"
    # What an erasure does with tickets, their comments and attachments: `delete` empties them and
    # moves the tickets to the recycle bin. The receipt names those that are kept.
    desk_erasure_tickets: Literal["delete", "keep"] = "delete"
