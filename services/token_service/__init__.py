"""Keeps Zoho's refresh tokens, mints access tokens, and hands them to the workers."""
