"""Send Desk's webhooks: an array of events, and a JWT that proves the sender but not the body.

The JWT is RS256, with keys at `/.well-known/jwks.json`, issuer `orgId:<id>` and audience
`webhookId:<id>`. On creation Desk calls the URL by GET and refuses one that does not answer 200.
Source: https://desk.zoho.com/support/WebhookDocument.do, as public code reads it.
"""

from __future__ import annotations

import uuid
from typing import Any

import aiohttp
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import rsa

from services.zoho_sandbox.server.tables import Record, Table
from services.zoho_sandbox.server.webhook_delivery import Target
from services.zoho_sandbox.server.world import World

_LIFE_S = 300
_HANDSHAKE_TIMEOUT_S = 5


class SigningKey:
    """The RSA key of this run. A restart has a new one, under a new `kid`."""

    def __init__(self) -> None:
        self.kid = uuid.uuid4().hex
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwks(self) -> dict[str, Any]:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        return {"keys": [{**key, "kid": self.kid, "alg": "RS256", "use": "sig"}]}

    def token(self, *, org_id: str, webhook_id: str, now: int) -> str:
        """Sign a token. Its times are in seconds."""
        claims = {
            "iss": f"orgId:{org_id}",
            "aud": f"webhookId:{webhook_id}",
            "iat": now,
            "exp": now + _LIFE_S,
        }
        return jwt.encode(claims, self._private, "RS256", headers={"kid": self.kid})


class DeskWebhooks:
    """Sends events to the targets of the driver and to the webhooks made by the API."""

    def __init__(self, world: World, hooks: Table, *, webhook_id: str) -> None:
        self._world = world
        self._hooks = hooks
        self._webhook_id = webhook_id
        self._key: SigningKey | None = None

    @property
    def key(self) -> SigningKey:
        """The signing key, created when first needed because that takes a tenth of a second."""
        self._key = self._key or SigningKey()
        return self._key

    def announce(self, event: str, resource: Record, before: Record | None) -> None:
        """Send an event to every target and subscribed webhook, in the background."""
        for target in self._world.webhooks.targets("desk"):
            webhook_id = str(target.options.get("webhook_id", self._webhook_id))
            self._send(target.url, webhook_id, event, resource, before)
        for hook in self._hooks:
            wanted = hook["subscriptions"]
            if hook["isEnabled"] and event in wanted and _passes(wanted[event], resource, before):
                previous = before if (wanted[event] or {}).get("includePrevState") else None
                self._send(hook["url"], hook["id"], event, resource, previous)

    def listed(self) -> list[Record]:
        """Return the webhooks made by the API, and the targets, which count as webhooks for all."""
        return [self._shown(target) for target in self._world.webhooks.targets("desk")] + list(
            self._hooks
        )

    def _shown(self, target: Target) -> Record:
        now = self._world.clock.desk_time()
        return {
            "id": str(target.options.get("webhook_id", self._webhook_id)),
            "name": "driver",
            "description": None,
            "url": target.url,
            "isEnabled": True,
            "type": "CUSTOMER_WEBHOOK",
            "subscriptions": {
                "Ticket_Update": {"departmentIds": None, "fields": None, "includePrevState": True}
            },
            "includeEventsFrom": ["AUTOMATION"],
            "ignoreSourceId": None,
            "createdBy": "204600000000056007",
            "createdTime": now,
            "modifiedTime": now,
        }

    async def answers(self, url: str) -> bool:
        """Perform the handshake: GET, then POST. Returns whether one of them answers 200."""
        timeout = aiohttp.ClientTimeout(total=_HANDSHAKE_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for method in ("GET", "POST"):
                try:
                    async with session.request(method, url) as response:
                        if response.status == 200:
                            return True
                except (aiohttp.ClientError, TimeoutError):
                    continue
        return False

    def _send(
        self, url: str, webhook_id: str, event: str, resource: Record, before: Record | None
    ) -> None:
        now, org_id = self._world.clock.now(), self._world.settings.desk_org_id
        notification: dict[str, Any] = {
            "eventType": event,
            "eventTime": str(int(now.timestamp() * 1000)),
            "orgId": org_id,
            "payload": resource,
        }
        if before is not None:
            notification["prevState"] = before
        token = self.key.token(org_id=org_id, webhook_id=webhook_id, now=int(now.timestamp()))
        headers = {"Content-Type": "application/json", "X-ZDesk-JWT": token}
        self._world.webhooks.send(
            "desk", url, orjson.dumps([notification]), headers, event_type=event
        )


def _passes(wanted: Record | None, resource: Record, before: Record | None) -> bool:
    """Return whether the subscription's filters pass: departments, and for updates the fields."""
    if not wanted:
        return True
    departments = wanted.get("departmentIds") or []
    if departments and resource.get("departmentId") not in departments:
        return False
    fields = wanted.get("fields") or []
    return not fields or any(resource.get(name) != (before or {}).get(name) for name in fields)
