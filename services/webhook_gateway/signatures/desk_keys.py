"""Fetch and cache the keys that Desk signs with, which it publishes as a JWKS."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.errors import Unavailable

_log = logging.getLogger(__name__)

_TIMEOUT = aiohttp.ClientTimeout(total=3.0)  # Desk waits 5 s for our answer
_LARGEST_BYTES = 256 * 1024
_MOST_KEYS = 64


class DeskKeys:
    """Caches `https://desk.zoho.<tld>/.well-known/jwks.json`.

    An unknown key id triggers a fetch, since Zoho changes keys without notice. It does so at most
    every `pause_s`, because anyone can post unknown key ids. Known keys are fetched again after
    `fresh_s`, so that a key which Zoho withdrew does not stay. While Desk does not answer, they
    stay valid.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        pause_s: float = 10.0,
        fresh_s: float = 3600.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._url = url
        self._pause_s = pause_s
        self._fresh_s = fresh_s
        self._now = now
        self._keys: dict[str, RSAPublicKey] = {}
        self._answered_at: float | None = None
        self._asked_at: float | None = None
        self._fetching = asyncio.Lock()

    async def key(self, kid: str) -> RSAPublicKey | None:
        """Return the key of that id, or None when Desk publishes no such key.

        Raises:
            Unavailable: `desk_keys_unavailable`, it is not known here and Desk did not answer.
        """
        if kid not in self._keys or self._older_than(self._answered_at, self._fresh_s):
            await self._refresh(kid)
        if kid in self._keys:
            return self._keys[kid]
        if self._answered_at != self._asked_at:  # the last time, it did not
            raise Unavailable("Desk's keys cannot be had now", code="desk_keys_unavailable")
        return None

    async def _refresh(self, kid: str) -> None:
        async with self._fetching:  # those who wait find what the first one brought
            known_and_fresh = kid in self._keys and not self._older_than(
                self._answered_at, self._fresh_s
            )
            if known_and_fresh or not self._older_than(self._asked_at, self._pause_s):
                return
            asked_at = self._asked_at = self._now()
            try:
                self._keys = await self._fetch()
            except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
                _log.warning("desk keys not fetched: %s", type(error).__name__)
            else:
                self._answered_at = asked_at

    async def _fetch(self) -> dict[str, RSAPublicKey]:
        async with self._session.get(self._url, timeout=_TIMEOUT) as answer:
            answer.raise_for_status()
            body = b""
            async for chunk in answer.content.iter_chunked(65536):
                body += chunk
                if len(body) > _LARGEST_BYTES:
                    raise ValueError("a key set too large to be one")
        found = orjson.loads(body)
        entries = found.get("keys") if isinstance(found, dict) else None
        listed = entries[:_MOST_KEYS] if isinstance(entries, list) else []
        keys = dict(pair for entry in listed if (pair := _rsa_key(entry)))
        if not keys:
            raise ValueError("not a set of keys")
        return keys

    def _older_than(self, moment: float | None, age_s: float) -> bool:
        return moment is None or self._now() - moment >= age_s


def _rsa_key(entry: Any) -> tuple[str, RSAPublicKey] | None:
    """Return one key of the set, or None when it is of a kind that Desk does not sign with."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return None
    try:
        key = jwt.PyJWK(entry, algorithm="RS256").key
    except jwt.PyJWTError:
        return None
    return (entry["kid"], key) if isinstance(key, RSAPublicKey) else None
