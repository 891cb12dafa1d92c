"""How a service can be seen from outside: log lines, metrics, health."""
