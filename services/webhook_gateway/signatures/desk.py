"""Verify what Desk posts: its JWT, against the keys that Desk publishes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from services.webhook_gateway.requests.refusals import Unauthentic
from services.webhook_gateway.requests.times import seconds

HEADER = "X-ZDesk-JWT"

# Clocks differ, and deliveries wait in queues of Zoho's. The token has no id to
# recognize replays by.
_LEEWAY_S = 300.0
_LONGEST = 8192


class PublicKeys(Protocol):
    async def key(self, kid: str) -> RSAPublicKey | None:
        """Return the key of that id, or None. Raises Unavailable when neither can be known now."""


class DeskSignatures:
    """Verifies tokens: RS256 only, for one organization and the webhooks that we set up.

    Source: https://desk.zoho.com/support/WebhookDocument.do (`iss` is `orgId:<id>`, `aud` is
    `webhookId:<id>`. `iat` and `exp` are said to be in milliseconds and shown in seconds).
    """

    def __init__(
        self,
        keys: PublicKeys,
        *,
        org_id: str,
        webhook_ids: Sequence[str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = f"orgId:{org_id}"
        self._audiences = [f"webhookId:{webhook_id}" for webhook_id in webhook_ids]
        self._now = now

    async def verify(self, token: str) -> None:
        """Return when the token is Desk's, meant for us, and current.

        Raises:
            Unauthentic: it is not.
            Unavailable: Desk's keys cannot be fetched now.
        """
        token = token.strip().removeprefix("Bearer ")
        key = await self._keys.key(_kid(token))
        if key is None:
            raise Unauthentic("the token names a key that Desk does not publish")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=["RS256"],  # never what the token asks for
                issuer=self._issuer,
                audience=self._audiences,
                options={
                    "require": ["iss", "aud", "exp"],
                    # Checked below: they may be in milliseconds.
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except jwt.InvalidTokenError as error:
            raise Unauthentic(f"the token is not valid: {type(error).__name__}") from None
        self._verify_current(claims)

    def _verify_current(self, claims: dict[str, Any]) -> None:
        now = self._now()
        try:
            expires = seconds(float(claims["exp"]))
            issued = seconds(float(claims.get("iat", now)))
        except (TypeError, ValueError):
            raise Unauthentic("the token's times are not numbers") from None
        # `not <` instead of `>=`: a NaN is refused.
        if not now < expires + _LEEWAY_S or not issued < now + _LEEWAY_S:
            raise Unauthentic("the token has expired, or is of the future")


def _kid(token: str) -> str:
    if not token or len(token) > _LONGEST:
        raise Unauthentic("there is no token")
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.InvalidTokenError, UnicodeEncodeError):
        raise Unauthentic("the token is not one") from None
    if not isinstance(kid, str) or not kid:
        raise Unauthentic("the token names no key")
    return kid
