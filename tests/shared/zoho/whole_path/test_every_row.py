"""Test every known answer, from Zoho's response to the settlement of the message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from services.billing_worker import app as billing_worker
from services.billing_worker.settings import Settings as BillingSettings
from services.crm_worker import app as crm_worker
from services.crm_worker.settings import Settings as CrmSettings
from services.desk_worker import app as desk_worker
from services.desk_worker.settings import Settings as DeskSettings
from shared.zoho.call.known_answers import BY_STATUS as ANSWERS_BY_STATUS
from shared.zoho.products.profiles import PROFILES
from tests.kit.surroundings import Surroundings
from tests.kit.watched_worker import Seen, Watched, watched
from tests.shared.zoho.whole_path.expected import (
    BILLING,
    BOOKS,
    BY_STATUS,
    CRM,
    CRM_ROWS,
    DESK,
    IN_NO_TABLE,
    Case,
    Key,
    key_of,
    order_of,
)

EXPECTED = {"billing": BILLING, "books": BOOKS, "crm": CRM, "desk": DESK}
Send = Callable[[str], Awaitable[None]]


@pytest.mark.parametrize("product", PROFILES)
def test_no_row_is_without_a_case(product: str) -> None:
    assert {key_of(row) for row in PROFILES[product].known_answers} == set(EXPECTED[product])


def test_no_status_is_without_a_case() -> None:
    assert {key_of(row) for row in ANSWERS_BY_STATUS} == set(BY_STATUS)


@dataclass(frozen=True)
class Path:
    """One way through a worker: the message that is sent, and the call whose answer is at stake."""

    worker: Watched
    product: str
    operation: str
    called: str
    routing_key: str
    send: Send

    async def outcomes(self, cases: Mapping[Key, Case]) -> dict[Key, Case]:
        """What each case really came to, in a `Case` again."""
        return {
            key: await self._outcome(f"{self.product}-{number}", key, case)
            for number, (key, case) in enumerate(cases.items())
        }

    async def _outcome(self, name: str, key: Key, case: Case) -> Case:
        await self.worker.order(operation=self.operation, **order_of(self.product, key, case))
        before = await self.worker.look()
        await self.send(name)
        after = await self.worker.until(
            lambda seen: bool(self._settled(before, seen)), f"a settlement of {self.product} {key}"
        )
        found = Case(
            case.status,
            settlement="+".join(self._settled(before, after)),
            outcome=self._outcomes(before, after),
            code="+".join(self._new(before, after, "dead_letters_total", "code")),
            cause="+".join(self._open(after)),
            once=case.once,
            headers=case.headers,
        )
        await self.worker.order(self.product, self.operation, kind="none")
        await self._recover(name)
        return found

    async def _recover(self, name: str) -> None:
        """Once Zoho is well again, the next message is handled, and nothing is held back."""
        await self.worker.forget_waiting()
        before = await self.worker.look()
        await self.send(f"{name}-after")
        while "done" not in await self._next_settlement(before):
            # What one operation lacks closes no queue: it came too soon, and waits for a later try.
            before = await self.worker.look()
            await self.worker.hurry()
        await self.worker.until(
            lambda seen: not self._open(seen), f"recovery of {self.product} from {name}"
        )

    async def _next_settlement(self, before: Seen) -> list[str]:
        after = await self.worker.until(
            lambda seen: bool(self._settled(before, seen)), f"another settlement of {self.product}"
        )
        return self._settled(before, after)

    def _settled(self, before: Seen, after: Seen) -> list[str]:
        labels = {"routing_key": self.routing_key}
        return self._new(before, after, "messages_settled_total", "settlement", **labels)

    def _outcomes(self, before: Seen, after: Seen) -> str:
        """How the call went. That a token was replaced first is no news: all share one."""
        called = {"product": self.product, "operation": self.called}
        new = self._new(before, after, "zoho_api_requests_total", "outcome", **called)
        named = set(new) - {"ok"}
        return "+".join(sorted(named - {"token"} or named))

    def _open(self, seen: Seen) -> list[str]:
        causes = seen.by("zoho_breaker_open", "cause", product=self.product)
        return sorted(cause for cause, value in causes.items() if value)

    def _new(self, before: Seen, after: Seen, metric: str, label: str, **labels: str) -> list[str]:
        old, new = before.by(metric, label, **labels), after.by(metric, label, **labels)
        return sorted(name for name, value in new.items() if value > old.get(name, 0))


async def test_answers_of_billing_and_books(database_url: str, amqp_url: str) -> None:
    async with (
        Surroundings(database_url, amqp_url) as around,
        watched(
            around,
            "billing-worker",
            billing_worker.main,
            BillingSettings,
            queue="billing-worker.intake.webhooks",
            zoho_minute_calls=100_000,
            zoho_billing_in_flight=50,
            breaker_pause_s=0.01,  # over before the next message comes
        ) as worker,
    ):

        async def sign_up(name: str) -> None:
            body = {"user_id": name, "email": f"{name}@example.com", "full_name": name}
            await worker.stage.publish("user.signed_up.v1", body)

        async def ask_for_report(_name: str) -> None:
            await worker.stage.ask_without_waiting("report.receivables_requested.v1", {})

        customers = Path(
            worker,
            "billing",
            "create_customer",
            "create_customer",
            "user.signed_up.v1",
            sign_up,
        )
        reports = Path(
            worker,
            "books",
            "list_invoices",
            "list_invoices",
            "report.receivables_requested.v1",
            ask_for_report,
        )
        # One after the other: they share what waits for a later try, and the count of dead letters.
        made = await customers.outcomes(BILLING)
        read = await reports.outcomes(BOOKS)
    assert _named(made) == _named(BILLING)
    assert _named(read) == _named(BOOKS)


async def test_answers_of_crm_and_desk(database_url: str, amqp_url: str) -> None:
    async with (
        Surroundings(database_url, amqp_url) as around,
        watched(
            around,
            "crm-worker",
            crm_worker.main,
            CrmSettings,
            queue="crm-worker.intake.events",
            crm_flush_every_s=0.1,
            zoho_crm_user_field="App_User_Id",
        ) as crm,
        watched(
            around,
            "desk-worker",
            desk_worker.main,
            DeskSettings,
            queue="desk-worker.intake.webhooks",
            desk_poll_every_s=3600.0,
        ) as desk,
    ):
        all_of_crm = {**CRM, **CRM_ROWS}
        numbers = range(len(all_of_crm))
        await _contacts(crm, [f"crm-{n}{end}" for n in numbers for end in ("", "-after")])

        async def note(name: str) -> None:
            body = {"user_id": name, "interaction_id": name, "title": "Asked", "content": "Why?"}
            await crm.stage.publish("interaction.recorded.v1", body)

        async def escalate(name: str) -> None:
            body = {
                "escalation_id": name,
                "email": f"{name}@example.com",
                "subject": "Charged twice",
                "description": "The customer insists on a person.",
                "transcript": "user: I want a person.",
            }
            await desk.stage.publish("support.escalated.v1", body)

        notes = Path(crm, "crm", "create_notes", "create_notes", "interaction.recorded.v1", note)
        tickets = Path(
            desk, "desk", "create_ticket", "create_ticket", "support.escalated.v1", escalate
        )
        all_of_desk = {**DESK, **BY_STATUS, **IN_NO_TABLE}
        noted, opened = await asyncio.gather(
            notes.outcomes(all_of_crm), tickets.outcomes(all_of_desk)
        )
    assert _named(noted) == _named(all_of_crm)
    assert _named(opened) == _named(all_of_desk)


def _named(cases: Mapping[Key, Case]) -> dict[str, Any]:
    """So that a difference reads well."""
    return {" ".join(map(str, key)): case for key, case in cases.items()}


async def _contacts(crm: Watched, users: list[str]) -> None:
    """Sign these users up, and wait until CRM has them."""
    for user in users:
        body = {"user_id": user, "email": f"{user}@example.com", "full_name": f"Ada {user}"}
        await crm.stage.publish("user.signed_up.v1", body)
    for user in users:
        await crm.stage.event("contact.synced.v1", user_id=user)
