"""Hold all SQL of the schema `token`."""
