"""Reaching Zoho: one HTTP path, one quota ledger, one journal of effects, one typed client a product."""
