"""Serve Zoho Billing under `/billing/v1`, with its tables and its admin calls."""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.billing import addons as billing_addons
from services.zoho_sandbox.billing import coupons as billing_coupons
from services.zoho_sandbox.billing import credit_notes as billing_credit_notes
from services.zoho_sandbox.billing import customers as billing_customers
from services.zoho_sandbox.billing import events as billing_events
from services.zoho_sandbox.billing import invoices as billing_invoices
from services.zoho_sandbox.billing import payments as billing_payments
from services.zoho_sandbox.billing import plans as billing_plans
from services.zoho_sandbox.billing import refunds as billing_refunds
from services.zoho_sandbox.billing import staff as billing_admin
from services.zoho_sandbox.billing import subscriptions as billing_subscriptions
from services.zoho_sandbox.finance.dialect import FinanceDialect, FinanceRoutes
from services.zoho_sandbox.server.admin import AdminRoutes
from services.zoho_sandbox.server.world import World

_TABLES = {
    "customers": "customer_id",
    "cards": "card_id",
    "subscriptions": "subscription_id",
    "invoices": "invoice_id",
    "payments": "payment_id",
    "creditnotes": "creditnote_id",
    "refunds": "refund_id",
    "events": "event_id",
    "coupons": "coupon_code",
    "addons": "addon_code",
}


def add_routes(app: web.Application, world: World) -> None:
    for name, key in _TABLES.items():
        world.define("billing", name, key=key)
    billing_plans.define(world)
    world.start_with(billing_coupons.initial_coupons)
    world.start_with(billing_addons.initial_addons)
    dialect = FinanceDialect(world, "billing", world.settings.organization_id)
    routes = FinanceRoutes(app, world, product="billing", prefix="/billing/v1", dialect=dialect)
    billing_customers.add_routes(routes)
    billing_plans.add_routes(routes)
    billing_addons.add_routes(routes)
    billing_coupons.add_routes(routes)
    billing_subscriptions.add_routes(routes)
    billing_invoices.add_routes(routes)
    billing_payments.add_routes(routes)
    billing_refunds.add_routes(routes)
    billing_credit_notes.add_routes(routes)
    billing_events.add_routes(routes)
    routes.close()
    billing_admin.add_routes(AdminRoutes(app), world)
