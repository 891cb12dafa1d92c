"""Assemble billing-worker: its parts, its queues, and the handler of each message."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.billing_worker.customers.books_contacts import BooksContacts
from services.billing_worker.customers.customers import Customers
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
from services.billing_worker.organization_day import OrganizationDay
from services.billing_worker.payments.payment_sync import PaymentSync
from services.billing_worker.repositories.decisions import Decisions
from services.billing_worker.repositories.invoices import Invoices
from services.billing_worker.repositories.payments import Payments
from services.billing_worker.repositories.reminders import Reminders
from services.billing_worker.repositories.subscriptions import Subscriptions
from services.billing_worker.repositories.users import Users
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
from shared.messaging.handling.gate import Gate
from shared.messaging.handling.routes import QueueConfig, Route
from shared.worker import WorkerParts, worker_parts
from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.billing.profile import BILLING
from shared.zoho.products.books.client import ZohoBooks
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
        products=(BILLING, BOOKS),
    ) as parts:
        worker = HandlerParts.of(parts, settings)
        async with parts.messaging(
            worker.queues(), lag_sources=[worker.invoices.lag_s]
        ) as messaging:
            finder = InvoiceFinder(
                zoho=worker.zoho,
                books=worker.books,
                users=worker.users,
                invoices=worker.invoices,
                committer=messaging.committer,
                metrics=parts.metrics,
            )
            async with finder:
                await stop.wait()


@dataclass(frozen=True, kw_only=True)
class HandlerParts:
    """Hold what the handlers need, built once."""

    parts: WorkerParts
    settings: Settings
    zoho: ZohoBilling
    books: ZohoBooks
    users: Users
    subscriptions: Subscriptions
    invoices: Invoices
    payments: Payments
    subscription_sync: SubscriptionSync

    @classmethod
    def of(cls, parts: WorkerParts, settings: Settings) -> HandlerParts:
        storage = (parts.pool, parts.vault, parts.blind_index)
        users, subscriptions = Users(*storage), Subscriptions(*storage)
        invoices = Invoices(*storage)
        return cls(
            parts=parts,
            settings=settings,
            zoho=ZohoBilling(parts.http, settings),
            books=ZohoBooks(parts.http, settings),
            users=users,
            subscriptions=subscriptions,
            invoices=invoices,
            payments=Payments(*storage),
            subscription_sync=SubscriptionSync(
                users, subscriptions, invoices, settings.zoho_free_plan_codes
            ),
        )

    def queues(self) -> list[QueueConfig]:
        """One queue for each urgency. Each pauses while the product it needs is unavailable."""
        prefetch = self.settings.prefetch

        def gate(product: str, priority: Priority) -> Gate:
            return self.parts.breakers.gate(self.zoho.org, product, priority=priority)

        return [
            QueueConfig("urgent", self.urgent(), prefetch, gate("billing", Priority.URGENT)),
            QueueConfig(
                "commands",
                self.commands(),
                prefetch,
                gate("billing", Priority.COMMANDS),
            ),
            QueueConfig("reads", self.reads(), prefetch, gate("books", Priority.READS)),
            QueueConfig(
                "webhooks",
                self.webhooks(),
                prefetch,
                gate("billing", Priority.COMMANDS),
            ),
            QueueConfig(
                "unrouted", {}, prefetch
            ),  # unknown commands get an answer and are never lost
        ]

    def urgent(self) -> Mapping[str, Route]:
        subscriptions = self._subscriptions(Priority.URGENT)
        payments = PaymentHandlers(
            zoho=self.zoho.on(Priority.URGENT),
            books=self.books.on(Priority.URGENT),
            effects=self.parts.effects,
            users=self.users,
            customers=self._customers(Priority.URGENT),
            invoices=self.invoices,
            invoice_sync=InvoiceSync(self.books.on(Priority.URGENT), self.invoices),
            payments=self.payments,
            payment_sync=PaymentSync(self.zoho.on(Priority.URGENT), self.payments, self.invoices),
        )
        return {
            "subscription.cancel_requested.v1": Route(
                SubscriptionCancelRequested, subscriptions.cancel
            ),
            "payment.record_requested.v1": Route(PaymentRecordRequested, payments.record),
            "payment.collect_requested.v1": Route(PaymentCollectRequested, payments.collect),
            "payment.refund_requested.v1": Route(PaymentRefundRequested, payments.refund),
        }

    def commands(self) -> Mapping[str, Route]:
        handlers = self._subscriptions(Priority.COMMANDS)
        customers = self._customers(Priority.COMMANDS)
        invoices = ApplicationInvoiceHandlers(
            books=self.books,
            users=self.users,
            contacts=BooksContacts(self.books, self.users),
            invoices=self.invoices,
            invoice_sync=InvoiceSync(self.books, self.invoices),
            invoice_field=self.settings.zoho_books_invoice_field,
        )
        return {
            "user.signed_up.v1": Route(
                UserSignedUp, partial(sign_up, users=self.users, customers=customers)
            ),
            "user.updated.v1": Route(
                UserUpdated, partial(update_user, users=self.users, zoho=self.zoho)
            ),
            "subscription.requested.v1": Route(SubscriptionRequested, handlers.subscribe),
            "subscription.change_requested.v1": Route(SubscriptionChangeRequested, handlers.change),
            "subscription.reactivate_requested.v1": Route(
                SubscriptionReactivateRequested, handlers.reactivate
            ),
            "invoice.create_requested.v1": Route(InvoiceCreateRequested, invoices.create),
            "invoice.void_requested.v1": Route(InvoiceVoidRequested, invoices.void),
            "invoice.write_off_requested.v1": Route(InvoiceWriteOffRequested, invoices.write_off),
        }

    def reads(self) -> Mapping[str, Route]:
        books = self.books.on(Priority.READS)
        invoices = InvoiceHandlers(
            books=books,
            users=self.users,
            contacts=BooksContacts(books, self.users),
            invoices=self.invoices,
            invoice_sync=InvoiceSync(books, self.invoices),
            identities=InvoiceIdentities(self.zoho.on(Priority.READS), self.invoices),
            organization_day=OrganizationDay(books, self.settings.books_organization_id),
        )
        reports = ReportHandlers(books=books, organization_id=self.settings.books_organization_id)
        return {
            "invoice.requested.v1": answered(InvoiceRequested, invoices.show),
            "invoice.list_requested.v1": answered(InvoiceListRequested, invoices.list_of_user),
            "report.revenue_requested.v1": answered(ReportRevenueRequested, reports.revenue),
            "report.receivables_requested.v1": answered(
                ReportReceivablesRequested, reports.receivables
            ),
            "report.summary_requested.v1": answered(ReportSummaryRequested, reports.summary),
        }

    def webhooks(self) -> Mapping[str, Route]:
        of_books = BooksWebhookHandlers(
            invoices=self.invoices,
            invoice_sync=InvoiceSync(self.books, self.invoices),
            metrics=self.parts.metrics,
        )
        webhook_user = WebhookUser(
            effects=self.parts.effects, users=self.users, metrics=self.parts.metrics
        )
        reminders = ReminderWebhookHandlers(
            webhook_user=webhook_user,
            subscriptions=self.subscriptions,
            payments=self.payments,
            reminders=Reminders(self.parts.pool),
        )
        of_billing = WebhookHandlers(
            zoho=self.zoho,
            effects=self.parts.effects,
            users=self.users,
            subscriptions=self.subscriptions,
            invoices=self.invoices,
            subscription_sync=self.subscription_sync,
            payment_sync=PaymentSync(self.zoho, self.payments, self.invoices),
            invoice_sync=InvoiceSync(self.books, self.invoices),
            webhook_user=webhook_user,
        )
        return of_books.routes() | reminders.routes() | of_billing.routes()

    def _customers(self, priority: Priority) -> Customers:
        return Customers(self.zoho.on(priority), self.parts.effects, self.users)

    def _subscriptions(self, priority: Priority) -> SubscriptionHandlers:
        return SubscriptionHandlers(
            zoho=self.zoho.on(priority),
            effects=self.parts.effects,
            users=self.users,
            customers=self._customers(priority),
            subscriptions=self.subscriptions,
            decisions=Decisions(self.parts.pool),
            subscription_sync=self.subscription_sync,
        )
