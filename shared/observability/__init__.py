"""Show a service from outside: log lines, metrics, health."""
