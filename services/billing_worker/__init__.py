"""Customers, subscriptions, payments, invoices and revenue, in Zoho Billing and Books."""
