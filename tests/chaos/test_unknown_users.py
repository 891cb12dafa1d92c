"""Interactions of users who never signed up cost one attempt each, and hold up nobody."""

from __future__ import annotations

import pytest

from services.crm_worker import app
from services.crm_worker.settings import Settings
from tests.kit.people import sign_up_of
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import watched

INTERACTION = "interaction.recorded.v1"


@pytest.mark.parametrize("count", [1000, pytest.param(20_000, marks=pytest.mark.chaos)])
async def test_many_who_wait_are_not_asked_again_and_again(
    around: Surroundings, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    async with watched(
        around,
        "crm-worker",
        app.main,
        Settings,
        queue="crm-worker.intake.events",
        crm_flush_every_s=0.1,
    ) as worker:
        worker.stage.patience_s = 20 + count / 100
        for number in range(count):
            body = {"user_id": f"u-{number}", "interaction_id": f"i-{number}"}
            await worker.stage.publish(INTERACTION, {**body, "title": "Asked", "content": "Why?"})
        await worker.until(
            lambda seen: seen.value("messages_settled_total", routing_key=INTERACTION) >= count,
            "a look at each",
        )

        await worker.stage.publish("user.signed_up.v1", sign_up_of("known"))
        await worker.stage.event("contact.synced.v1", user_id="known")
        # The gauge is measured every few seconds: by then each had time for many more looks.
        seen = await worker.until(
            lambda seen: seen.value("messages_waiting", reason="fact") == count, "all of them wait"
        )

        assert seen.by("messages_settled_total", "settlement", routing_key=INTERACTION) == {
            "wait_for_fact": count
        }
    about_them = [line for line in capsys.readouterr().out.splitlines() if INTERACTION in line]
    assert len(about_them) == count
