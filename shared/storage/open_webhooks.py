"""The one fact about a webhook that its worker tells the gateway: that it was handled."""

from typing import Final

# For the commit that settles a message of `zoho.webhooks`, done or given up; the argument is the
# message id. Nothing happens when Zoho gave the event an id of its own.
CLOSE_WEBHOOK: Final = "DELETE FROM relay.open_webhooks WHERE webhook_id = $1::uuid"
