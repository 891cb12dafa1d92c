"""Connect to PostgreSQL, migrate it and prune it. Nothing here knows what is stored."""
