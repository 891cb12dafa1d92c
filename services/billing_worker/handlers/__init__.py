"""One verb per message."""
