"""Change more tickets between two polls than one search of Desk's reaches: all are read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.desk_worker import app
from services.desk_worker.settings import Settings
from tests.kit.desk_tickets import ticket_by_mail
from tests.kit.surroundings import Surroundings

# A search reaches 5,000 rows (https://desk.zoho.com/DeskAPIDocument#Search).
CHANGED = 5_100


@pytest.mark.chaos
async def test_more_changes_than_one_search_reaches_are_all_read(around: Surroundings) -> None:
    settings = Settings(**{**around.environment, "desk_poll_every_s": 0.5})
    async with around.running(app.main, settings, queue="desk-worker.intake.commands") as stage:
        stage.patience_s = 240.0
        await stage.sandbox.set_limits("desk", day=None, concurrency=None)
        await stage.publish("user.signed_up.v1", {"user_id": "u1", "email": "ada@example.com"})
        await stage.sandbox.wait_for_request("desk", "search_tickets")
        now = datetime.now(UTC)
        strangers = [
            ticket_by_mail(
                "stranger@example.com",
                f"2046000001{number:08}",
                now + timedelta(milliseconds=number / 10),
            )
            for number in range(CHANGED)
        ]
        last = ticket_by_mail("ada@example.com", at=now + timedelta(seconds=1))
        await stage.sandbox.load({"desk": {"tickets": [*strangers, last]}})

        created = await stage.event("ticket.created.v1", origin="zoho")

        assert created["user_id"] == "u1"
