"""PostgreSQL: connecting, migrating, pruning. Nothing here knows what is stored."""
