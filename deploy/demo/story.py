"""The whole story, from three sign-ups to a closed ticket, chapter by chapter.

Every chapter says what was published, what Zoho then holds and which event came back, and raises
`WaitTimeout` when one of them does not come true.
"""

from __future__ import annotations

import base64
import datetime as dt
import html
import re

from deploy.demo.people import ADA, BEN, CHLOE, EVERYONE
from deploy.demo.steps import Steps, mail_of, tags_of
from services.zoho_sandbox.driver import Json, WaitTimeout

TRANSCRIPT = [
    {"role": "user", "text": "I was charged twice for November. <b>Twice!</b>"},
    {"role": "assistant", "text": "I see two entries; one may be a reservation."},
    {"role": "user", "text": "It is not. I want a person."},
]


class Story(Steps):
    """The story, played on a stage and narrated."""

    async def play(self) -> None:
        await self.three_users_sign_up()
        await self.one_starts_a_trial()
        await self.one_pays_at_once()
        await self.zoho_renews()
        await self.a_payment_fails()
        await self.the_invoice_is_asked_for()
        await self.the_month_is_reported()
        await self.one_cancels_at_once()
        await self.support_escalates_and_an_agent_closes()
        await self.the_end()

    async def three_users_sign_up(self) -> None:
        with self._narrator.chapter("Three users sign up"):
            for person in EVERYONE:
                await self._publish(
                    "user.signed_up.v1",
                    {
                        "user_id": person.user_id,
                        "email": person.email,
                        "first_name": person.first_name,
                        "last_name": person.last_name,
                    },
                    person.name,
                )
            for person in EVERYONE:
                await self._stage.zoho(
                    "billing", "customers", f"customer {person.user_id}", mail_of("email", person)
                )
                self._narrator.zoho_holds("Billing customer", person.name)
                await self._contact_with_tags(person, {"App User", "Active", "Free Tier"})
                await self._stage.event("customer.created.v1", user_id=person.user_id)
                self._narrator.came_back("customer.created.v1", f"user {person.user_id}")
                await self._stage.event("contact.synced.v1", user_id=person.user_id)
                self._narrator.came_back("contact.synced.v1", f"user {person.user_id}")

    async def one_starts_a_trial(self) -> None:
        with self._narrator.chapter("Ada subscribes to Pro, on trial"):
            await self._subscribe(ADA, "s-ada", "pro-monthly", trial_days=14)
            await self._subscription("s-ada", "trial")
            await self._changed("s-ada", "trial", "Trial")
            await self._contact_with_tags(ADA, {"App User", "Active", "Trial"})

    async def one_pays_at_once(self) -> None:
        with self._narrator.chapter("Ben has a card on file and subscribes to Basic at once"):
            customer = await self._stage.zoho(
                "billing", "customers", "customer of Ben", mail_of("email", BEN)
            )
            await self._stage.sandbox.add_card(customer["customer_id"])
            self._narrator.zoho_did("stored a card", BEN.name)
            await self._subscribe(BEN, "s-ben", "basic-monthly", use_stored_card=True)
            await self._subscription("s-ben", "live")
            await self._changed("s-ben", "live", "Paid Tier")
            invoice = await self._stage.event("invoice.issued.v1", user_id=BEN.user_id)
            self._invoice_id = str(invoice["invoice_id"])
            self._narrator.came_back(
                "invoice.issued.v1", f"{invoice['number']}, by an id of ours: {self._invoice_id}"
            )
            in_books = await self._stage.zoho(
                "books",
                "invoices",
                "invoice of Ben",
                lambda i: i["invoice_number"] == invoice["number"],
            )
            self._narrator.zoho_holds(
                "Books invoice",
                f"{in_books['invoice_number']}: {in_books['status']}, {in_books['total']}",
            )
            await self._contact_with_tags(BEN, {"App User", "Active", "Paid Tier"})

    async def zoho_renews(self) -> None:
        with self._narrator.chapter("Zoho renews Ben's subscription; a webhook says so"):
            before = await self._stage.event("subscription.changed.v1", subscription_id="s-ben")
            subscription = await self._stage.zoho("billing", "subscriptions", "s-ben", _bens)
            await self._stage.sandbox.renew(subscription["subscription_id"])
            self._narrator.zoho_did("renewed", "subscription s-ben")
            subscription = await self._stage.zoho("billing", "subscriptions", "s-ben", _bens)
            self._narrator.zoho_holds(
                "Billing subscription",
                f"s-ben: {subscription['status']}, paid to {subscription['current_term_ends_at']}",
            )
            renewed = await self._stage.event(
                "subscription.changed.v1", subscription_id="s-ben", cause="renewed"
            )
            if renewed["version"] <= before["version"]:
                raise WaitTimeout("the renewal's version did not rise")
            self._narrator.came_back(
                "subscription.changed.v1",
                f"renewed: {renewed['status']} to {renewed['term_ends_at']}"
                f" (version {renewed['version']})",
            )
            self._narrator.quote(
                "Two events of one subject may overtake each other: keep the one with the highest"
                " version. Drop an event_id that you have had."
            )

    async def a_payment_fails(self) -> None:
        with self._narrator.chapter("A payment of Ben's fails; a webhook says so"):
            subscription = await self._stage.zoho("billing", "subscriptions", "s-ben", _bens)
            await self._stage.sandbox.fail_payment(subscription["subscription_id"])
            self._narrator.zoho_did("declined the card", "subscription s-ben")
            subscription = await self._stage.zoho("billing", "subscriptions", "s-ben", _bens)
            self._narrator.zoho_holds("Billing subscription", f"s-ben: {subscription['status']}")
            await self._stage.event("payment.failed.v1", user_id=BEN.user_id)
            self._narrator.came_back("payment.failed.v1", f"user {BEN.user_id}")
            notice = await self._stage.event(
                "notification.requested.v1", template="payment_failed", user_id=BEN.user_id
            )
            self._narrator.came_back(
                "notification.requested.v1", f"payment_failed, for {notice['email']}"
            )

    async def the_invoice_is_asked_for(self) -> None:
        with self._narrator.chapter("The application asks for Ben's invoice, as JSON and as PDF"):
            body = {"invoice_id": self._invoice_id}
            answer = await self._ask("invoice.requested.v1", {**body, "format": "json"})
            self._narrator.show(answer)
            answer = await self._ask("invoice.requested.v1", {**body, "format": "pdf"})
            pdf = base64.b64decode(answer["content"])
            if not pdf.startswith(b"%PDF"):
                raise WaitTimeout("what came back is no PDF")
            self._narrator.quote(f"a PDF of {len(pdf):,} bytes, free of Zoho's links")

    async def the_month_is_reported(self) -> None:
        today = dt.datetime.now(dt.UTC).date()
        first = today.replace(day=1)
        # The renewal's invoice is dated when the next term starts, so the month reaches that far.
        last = first + dt.timedelta(days=61)
        with self._narrator.chapter("The application asks for the revenue, month by month"):
            answer = await self._ask(
                "report.revenue_requested.v1",
                {
                    "start_date": first.isoformat(),
                    "end_date": last.isoformat(),
                    "basis": "accrual",
                    "group_by": "month",
                },
            )
            self._narrator.show(answer)

    async def one_cancels_at_once(self) -> None:
        with self._narrator.chapter("Ben cancels at once"):
            await self._publish(
                "subscription.cancel_requested.v1",
                {"subscription_id": "s-ben", "at_term_end": False},
                "s-ben, not at the end of the term",
            )
            await self._subscription("s-ben", "cancelled")
            await self._changed("s-ben", "cancelled", "Churned")
            await self._contact_with_tags(BEN, {"App User", "Churned"})

    async def support_escalates_and_an_agent_closes(self) -> None:
        with self._narrator.chapter("The AI support gives up on Chloe; an agent closes the ticket"):
            await self._publish(
                "support.escalated.v1",
                {
                    "escalation_id": "e-1",
                    "user_id": CHLOE.user_id,
                    "email": CHLOE.email,
                    "subject": "Charged twice in November",
                    "description": "The customer insists on a person.",
                    "transcript": TRANSCRIPT,
                },
                f"e-1, with {len(TRANSCRIPT)} turns of transcript",
            )
            ticket = await self._stage.zoho(
                "desk",
                "tickets",
                "ticket with the whole transcript",
                lambda t: (
                    "--- Conversation Transcript ---" in t["description"]
                    and "I want a person." in t["description"]
                ),
            )
            self._narrator.zoho_holds(
                "Desk ticket", f"number {ticket['ticketNumber']}: {ticket['status']}"
            )
            self._narrator.quote(_plain(ticket["description"]))
            created = await self._stage.event("ticket.created.v1", escalation_id="e-1")
            self._narrator.came_back("ticket.created.v1", f"escalation {created['escalation_id']}")
            await self._stage.sandbox.ticket(
                ticket["id"],
                "close",
                resolution="<div>The second entry was a <b>reservation</b>; it is gone.</div>",
            )
            self._narrator.zoho_did("closed the ticket", "an agent, with a resolution")
            await self._stage.event("ticket.resolved.v1", escalation_id="e-1")
            self._narrator.came_back("ticket.resolved.v1", "escalation e-1")
            notice = await self._stage.event(
                "notification.requested.v1", template="ticket_resolved", email=CHLOE.email
            )
            self._narrator.came_back(
                "notification.requested.v1", f"ticket_resolved, for {notice['email']}"
            )
            self._narrator.quote(f"“{notice['data']['resolution']}”")

    async def the_end(self) -> None:
        state = await self._stage.sandbox.state()
        rows = []
        for person in EVERYONE:
            contact = next(c for c in state["crm"]["contacts"] if mail_of("Email", person)(c))
            subscriptions = [
                f"{s['plan']['plan_code']} ({s['status']})"
                for s in state["billing"]["subscriptions"]
                if s.get("reference_id", "").endswith(person.first_name.lower())
            ]
            tickets = [
                t["status"]
                for t in state["desk"]["tickets"]
                if CHLOE is person and t["subject"].startswith("Charged")
            ]
            rows.append(
                (
                    person.user_id,
                    person.name,
                    ", ".join(sorted(tags_of(contact))),
                    ", ".join(subscriptions) or "–",
                    ", ".join(tickets) or "–",
                )
            )
        self._narrator.table("Users", ("user", "name", "tags", "subscription", "ticket"), rows)
        calls = await self._stage.calls()
        self._narrator.table("Calls spent at Zoho", ("product", "calls"), sorted(calls.items()))
        self._narrator.the_end()


def _bens(subscription: Json) -> bool:
    return subscription.get("reference_id") == "s-ben"


def _plain(description: str) -> str:
    """A ticket's description as an agent reads it: Desk takes it for HTML."""
    return html.unescape(re.sub(r"<br\s*/?>", "\n", description))
