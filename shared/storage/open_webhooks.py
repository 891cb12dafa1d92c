"""The one fact about webhooks that those who handle them tell the gateway: that they did."""

from typing import Final

# Run by the commit that settles messages of `zoho.webhooks`, done or given up, with their ids.
# Nothing happens to those whose event had an id of Zoho's own.
CLOSE_WEBHOOKS: Final = "DELETE FROM relay.open_webhooks WHERE webhook_id = ANY ($1::uuid[])"
