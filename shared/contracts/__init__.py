"""Define the messages of applications and services: commands, events, replies, webhooks."""
