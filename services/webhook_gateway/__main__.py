"""Run webhook-gateway: `python -m services.webhook_gateway`."""

from services.webhook_gateway.app import main
from services.webhook_gateway.settings import Settings
from shared import runtime

if __name__ == "__main__":
    runtime.run("webhook-gateway", Settings.load, main)
