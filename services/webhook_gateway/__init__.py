"""Receive what Zoho posts: authenticate it, store it once, answer fast."""
