"""Simulate Zoho's APIs for development and tests without a Zoho account. Not for production."""
