"""Verify what CRM posts: a channel's token, or the secret of a workflow webhook.

CRM signs neither kind. A channel echoes the token that it was opened with, and a workflow webhook
sends a header that an administrator set.
Source: https://www.zoho.com/crm/developer/docs/api/v8/notifications/overview.html
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from services.webhook_gateway.requests.refusals import Unauthentic

WORKFLOW_HEADER = "X-Webhook-Secret"


class CrmSecrets:
    """The tokens and secrets that are accepted. None are accepted where none are configured."""

    def __init__(
        self, *, channel_tokens: Sequence[bytes], workflow_secrets: Sequence[bytes]
    ) -> None:
        self._channel_tokens = channel_tokens
        self._workflow_secrets = workflow_secrets

    def verify_channel_token(self, token: object) -> None:
        """Return when the token in a callback's body is one of ours. Raises Unauthentic."""
        _verify(token, self._channel_tokens)

    def verify_workflow_secret(self, secret: str) -> None:
        """Return when the header of a workflow webhook is one of ours. Raises Unauthentic."""
        _verify(secret, self._workflow_secrets)


def _verify(secret: object, accepted: Sequence[bytes]) -> None:
    """Compare in constant time with each accepted secret."""
    text = secret.encode("utf-8", "replace") if isinstance(secret, str) else b""
    if not any(hmac.compare_digest(text, known) for known in accepted):
        raise Unauthentic("neither the channel's token nor the webhook's secret is one of ours")
