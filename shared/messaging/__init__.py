"""From RabbitMQ to a handler and back: once, in order, nothing lost. See docs/architecture.md."""
