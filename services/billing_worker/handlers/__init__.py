"""Handle each message: one method per routing key."""
