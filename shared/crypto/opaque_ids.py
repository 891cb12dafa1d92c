"""Derive our id for a record that Zoho or staff made."""

from __future__ import annotations

import base64
from typing import Final

from shared.crypto.blind_index import BlindIndex

_BYTES: Final = 15  # 120 bits, which are 24 characters without padding


def opaque_id(index: BlindIndex, org: str, prefix: str, zoho_id: str) -> str:
    """Our id of Zoho's record, such as `inv_…`. `prefix` names the kind of record.

    It is the same each time and in every replica, and reveals nothing of Zoho's id.
    """
    digest = index.of(org, f"opaque id {prefix}", zoho_id)[0].index
    return f"{prefix}_" + base64.b32encode(digest[:_BYTES]).decode().lower()
