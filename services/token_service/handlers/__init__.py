"""Handle HTTP requests."""
