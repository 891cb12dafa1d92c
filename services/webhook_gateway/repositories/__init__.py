"""Hold all SQL of the gateway."""
