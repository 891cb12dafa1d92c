"""Assemble billing-worker: its parts, and the route of each message."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.billing_worker.customers.books_contacts import BooksContacts
from services.billing_worker.customers.customers import Customers
from services.billing_worker.erasing.billing_cleanup import CLEANUP
from services.billing_worker.erasing.billing_customers import BillingErasure
from services.billing_worker.erasing.books_contacts import BooksErasure
from services.billing_worker.handlers.application_invoices import ApplicationInvoiceHandlers
from services.billing_worker.handlers.books_webhooks import BooksWebhookHandlers
from services.billing_worker.handlers.invoices import InvoiceHandlers
from services.billing_worker.handlers.payments import PaymentHandlers
from services.billing_worker.handlers.reminder_webhooks import ReminderWebhookHandlers
from services.billing_worker.handlers.reports import ReportHandlers
from services.billing_worker.handlers.required_reply import answered
from services.billing_worker.handlers.subscriptions import SubscriptionHandlers
from services.billing_worker.handlers.users import sign_up, update_user
from services.billing_worker.handlers.webhook_user import WebhookUser
from services.billing_worker.handlers.webhooks import WebhookHandlers
from services.billing_worker.invoices.invoice_finder import InvoiceFinder
from services.billing_worker.invoices.invoice_identities import InvoiceIdentities
from services.billing_worker.invoices.invoice_sync import InvoiceSync
from services.billing_worker.ledger.billing_ledger import BillingContacts, BillingLedger
from services.billing_worker.ledger.ledger import Contacts
from services.billing_worker.organization_day import OrganizationDay
from services.billing_worker.payments.payment_sync import PaymentSync
from services.billing_worker.repositories.decisions import Decisions
from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.organizations import Organizations
from services.billing_worker.repositories.payments import Payments
from services.billing_worker.repositories.reminders import Reminders
from services.billing_worker.repositories.report_pages import ReportPages, retention
from services.billing_worker.repositories.subscriptions import Subscriptions
from services.billing_worker.repositories.users import User, Users
from services.billing_worker.settings import Settings
from services.billing_worker.subscriptions.subscription_sync import SubscriptionSync
from shared.contracts.commands import (
    InvoiceCreateRequested,
    InvoiceListRequested,
    InvoiceRequested,
    InvoiceVoidRequested,
    InvoiceWriteOffRequested,
    PaymentCollectRequested,
    PaymentRecordRequested,
    PaymentRefundRequested,
    ReportReceivablesRequested,
    ReportRevenueRequested,
    ReportSummaryRequested,
    SubscriptionCancelRequested,
    SubscriptionChangeRequested,
    SubscriptionReactivateRequested,
    SubscriptionRequested,
    UserSignedUp,
    UserUpdated,
)
from shared.erasing.outcome import ProductErasure
from shared.erasing.placeholder import Placeholders
from shared.messaging.handling.routes import MessagePriority, Route, Routes
from shared.storage.retention import Pruner
from shared.worker import WorkerParts, worker_parts
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.billing.models import BillingInvoice
from shared.zoho.products.billing.profile import BILLING
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.books.models import Invoice
from shared.zoho.products.books.profile import BOOKS
from shared.zoho.quota.priority import Priority

SERVICE, SCHEMA = "billing-worker", "billing"
MIGRATIONS = Path(__file__).parent / "migrations"


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set, then drain."""
    organizations = {
        BILLING.name: settings.zoho_organization_id,
        BOOKS.name: settings.books_organization_id,
    }
    async with worker_parts(
        SERVICE,
        SCHEMA,
        settings,
        migrations=MIGRATIONS,
        organization_ids=organizations,
        products=(BILLING, BOOKS) if settings.zoho_has_books else (BILLING,),
        stop=stop,
    ) as parts:
        worker = HandlerParts.of(parts, settings)
        if form := await Organizations(parts.pool).customer_field_form(worker.zoho.org):
            worker.zoho.use_field_form(form)
        erasure = await parts.erasure(*worker.erasures(), cleanup=CLEANUP)
        async with parts.messaging(
            worker.routes(erasure), lag_sources=[worker.invoices.lag_s]
        ) as messaging:
            finder = InvoiceFinder(
                zoho=worker.zoho,
                copy_of=worker.copy_of,
                users=worker.users,
                invoices=worker.invoices,
                committer=messaging.committer,
                metrics=parts.metrics,
            )
            async with finder, Pruner(parts.pool, retention()):
                await stop.wait()


@dataclass(frozen=True, kw_only=True)
class HandlerParts:
    """Hold what the handlers need, built once."""

    parts: WorkerParts
    settings: Settings
    zoho: ZohoBilling
    books: ZohoBooks
    ledger: ZohoBooks | BillingLedger
    users: Users
    subscriptions: Subscriptions
    invoices: Invoices
    payments: Payments
    reminders: Reminders
    subscription_sync: SubscriptionSync

    @classmethod
    def of(cls, parts: WorkerParts, settings: Settings) -> HandlerParts:
        storage = (parts.pool, parts.vault, parts.blind_index)
        users, subscriptions = Users(*storage), Subscriptions(*storage)
        invoices = Invoices(*storage)
        zoho, books = ZohoBilling(parts.http, settings), ZohoBooks(parts.http, settings)
        alone = BillingLedger(zoho, settings.zoho_time_zone)
        return cls(
            parts=parts,
            settings=settings,
            zoho=zoho,
            books=books,
            ledger=books if settings.zoho_has_books else alone,
            users=users,
            subscriptions=subscriptions,
            invoices=invoices,
            payments=Payments(*storage),
            reminders=Reminders(parts.pool),
            subscription_sync=SubscriptionSync(
                users, subscriptions, invoices, settings.zoho_free_plan_codes
            ),
        )

    def erasures(self) -> tuple[ProductErasure, ...]:
        """The parts of Books, where there is one, and Billing. Books looks first: later its contact
        has another email."""
        placeholders = Placeholders(self.parts.blind_index)
        books = BooksErasure(
            books=self.books,
            users=self.users,
            invoices=self.invoices,
            placeholders=placeholders,
        )
        billing = BillingErasure(
            zoho=self.zoho,
            effects=self.parts.effects,
            users=self.users,
            invoices=self.invoices,
            payments=self.payments,
            placeholders=placeholders,
        )
        return (books, billing) if self.settings.zoho_has_books else (billing,)

    def routes(self, erasure: Route) -> Routes:
        """All that billing-worker handles, the commands that nobody knows included."""
        return Routes(
            commands={
                "user.erasure_requested.v1": erasure,
                **self.payment_commands(),
                **self.commands(),
                **self.reads(),
            },
            webhooks=self.webhooks(),
            unrouted=True,
        )

    async def copy_of(self, billed: BillingInvoice, user: User) -> Invoice | None:
        """The ledger's copy of an invoice of Billing's: in Books by its number and customer."""
        if not self.settings.zoho_has_books:
            return await self.ledger.invoice(billed.invoice_id)
        return await self.books.invoice_with_number(
            billed.number or "", customer_id=user.customer_id or "", email=user.email
        )

    @property
    def ledger_product(self) -> str:
        return BOOKS.name if self.settings.zoho_has_books else BILLING.name

    def _contacts(self, priority: Priority) -> Contacts:
        if self.settings.zoho_has_books:
            return BooksContacts(self.books.on(priority), self.users)
        return BillingContacts(self.zoho.on(priority))

    def payment_commands(self) -> Mapping[str, Route]:
        """Payments and cancellations."""
        subscriptions = self._subscriptions(Priority.URGENT)
        payments = PaymentHandlers(
            zoho=self.zoho.on(Priority.URGENT),
            books=self.books.on(Priority.URGENT),
            effects=self.parts.effects,
            users=self.users,
            customers=self._customers(Priority.URGENT),
            invoices=self.invoices,
            invoice_sync=InvoiceSync(self.ledger.on(Priority.URGENT), self.invoices),
            payments=self.payments,
            payment_sync=self._payment_sync(self.zoho.on(Priority.URGENT)),
        )
        urgent = partial(Route, priority=MessagePriority.PAYMENTS)
        return {
            "subscription.cancel_requested.v1": urgent(
                SubscriptionCancelRequested, subscriptions.cancel, calls={"billing": 2}
            ),
            "payment.record_requested.v1": urgent(
                PaymentRecordRequested, payments.record, calls={"billing": 1}, records=("payment",)
            ),
            "payment.collect_requested.v1": urgent(
                PaymentCollectRequested,
                payments.collect,
                calls={"billing": 2},
                records=("payment",),
            ),
            "payment.refund_requested.v1": urgent(
                PaymentRefundRequested, payments.refund, calls={"billing": 2}
            ),
        }

    def commands(self) -> Mapping[str, Route]:
        handlers = self._subscriptions(Priority.COMMANDS)
        customers = self._customers(Priority.COMMANDS)
        invoices = ApplicationInvoiceHandlers(
            books=self.books if self.settings.zoho_has_books else None,
            ledger=self.ledger,
            users=self.users,
            contacts=self._contacts(Priority.COMMANDS),
            invoices=self.invoices,
            invoice_sync=InvoiceSync(self.ledger, self.invoices),
            invoice_field=self.settings.zoho_books_invoice_field,
        )
        ledger = self.ledger_product
        signed_up = partial(sign_up, users=self.users, customers=customers)
        updated = partial(update_user, users=self.users, zoho=self.zoho)
        return {
            # The look for a customer to adopt, and the create: one without the other is wasted.
            "user.signed_up.v1": Route(
                UserSignedUp, signed_up, calls={"billing": 2}, records=("user",)
            ),
            "user.updated.v1": Route(UserUpdated, updated, calls={"billing": 1}),
            "subscription.requested.v1": Route(
                SubscriptionRequested,
                handlers.subscribe,
                calls={"billing": 1},
                records=("user", "subscription"),
            ),
            "subscription.change_requested.v1": Route(
                SubscriptionChangeRequested, handlers.change, calls={"billing": 2}
            ),
            "subscription.reactivate_requested.v1": Route(
                SubscriptionReactivateRequested, handlers.reactivate, calls={"billing": 2}
            ),
            "invoice.create_requested.v1": Route(
                InvoiceCreateRequested, invoices.create, calls={ledger: 1}, records=("invoice",)
            ),
            "invoice.void_requested.v1": Route(
                InvoiceVoidRequested, invoices.void, calls={ledger: 2}
            ),
            "invoice.write_off_requested.v1": Route(
                InvoiceWriteOffRequested, invoices.write_off, calls={ledger: 2}
            ),
        }

    def reads(self) -> Mapping[str, Route]:
        ledger = self.ledger.on(Priority.READS)
        organization_day = OrganizationDay(
            ledger, self.settings.books_organization_id, Organizations(self.parts.pool)
        )
        invoices = InvoiceHandlers(
            ledger=ledger,
            users=self.users,
            contacts=self._contacts(Priority.READS),
            invoices=self.invoices,
            invoice_sync=InvoiceSync(ledger, self.invoices),
            identities=InvoiceIdentities(self.zoho.on(Priority.READS), self.invoices),
            organization_day=organization_day,
        )
        reports = ReportHandlers(
            ledger=ledger,
            organization_day=organization_day,
            pages=ReportPages(self.parts.pool, self.parts.vault),
            metrics=self.parts.metrics,
        )
        read = partial(answered, product=self.ledger_product)
        return {
            "invoice.requested.v1": read(InvoiceRequested, invoices.show),
            "invoice.list_requested.v1": read(InvoiceListRequested, invoices.list_of_user),
            "report.revenue_requested.v1": read(ReportRevenueRequested, reports.revenue),
            "report.receivables_requested.v1": read(
                ReportReceivablesRequested, reports.receivables
            ),
            "report.summary_requested.v1": read(ReportSummaryRequested, reports.summary),
        }

    def webhooks(self) -> Mapping[str, Route]:
        of_books = BooksWebhookHandlers(
            invoices=self.invoices,
            invoice_sync=InvoiceSync(self.ledger, self.invoices),
            metrics=self.parts.metrics,
        )
        webhook_user = WebhookUser(
            effects=self.parts.effects, users=self.users, metrics=self.parts.metrics
        )
        reminders = ReminderWebhookHandlers(
            webhook_user=webhook_user,
            subscriptions=self.subscriptions,
            payments=self.payments,
            reminders=self.reminders,
        )
        of_billing = WebhookHandlers(
            zoho=self.zoho,
            effects=self.parts.effects,
            users=self.users,
            subscriptions=self.subscriptions,
            invoices=self.invoices,
            subscription_sync=self.subscription_sync,
            payment_sync=self._payment_sync(self.zoho),
            invoice_sync=InvoiceSync(self.ledger, self.invoices),
            webhook_user=webhook_user,
        )
        return of_books.routes() | reminders.routes() | of_billing.routes()

    def _payment_sync(self, zoho: ZohoBilling) -> PaymentSync:
        return PaymentSync(zoho, self.payments, self.invoices, self.reminders)

    def _customers(self, priority: Priority) -> Customers:
        organizations = Organizations(self.parts.pool)
        return Customers(self.zoho.on(priority), self.parts.effects, self.users, organizations)

    def _subscriptions(self, priority: Priority) -> SubscriptionHandlers:
        return SubscriptionHandlers(
            zoho=self.zoho.on(priority),
            effects=self.parts.effects,
            users=self.users,
            customers=self._customers(priority),
            subscriptions=self.subscriptions,
            decisions=Decisions(
                self.parts.pool, self.parts.vault, gather_s=self.settings.recovery_gather_s
            ),
            subscription_sync=self.subscription_sync,
        )
