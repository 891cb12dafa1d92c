"""Close a webhook that was handled, so that the gateway takes the same body for a new one."""

from typing import Final

# The commit that settles messages of `zoho.webhooks`, done or given up, runs it with their ids.
# A webhook whose event had an id of Zoho's own has no row there.
CLOSE_WEBHOOKS: Final = "DELETE FROM relay.open_webhooks WHERE webhook_id = ANY ($1::uuid[])"
