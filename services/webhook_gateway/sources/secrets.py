"""Open the secrets of the settings for those who compare with them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import SecretStr


def bytes_of(secrets: Sequence[SecretStr]) -> list[bytes]:
    return [secret.get_secret_value().encode() for secret in secrets]
