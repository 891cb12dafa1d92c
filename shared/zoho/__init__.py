"""Reaching Zoho: one HTTP path, one quota ledger, one journal of effects, a client a product."""
