"""Keep Zoho-hosted addresses out of what is sent, so that customers never see a Zoho page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shared.errors import PermanentError

# zoho.*, zohoapis.*, zohosecurepay.*, zohobilling.*, zohopublic.*, zohocloud.ca and all others that
# begin so. An email address at zoho.com is a mailbox and no page. It stays, hence no "@".
# Source: the list of fields that hold such links, in docs/zoho/finance.md §2.7.
_HOST = r"(?:[a-z0-9-]+\.)*zoho[a-z]*\.[a-z]{2,}"
_LINK = re.compile(
    rf"(?:https?:)?//(?:[^\s/?#@]*@)?{_HOST}\S*|(?<![@\w.-]){_HOST}(?::\d+)?(?:/\S*)?",
    re.IGNORECASE,
)
REMOVED = "[link removed]"


def holds_zoho_link(text: str) -> bool:
    # The plain search comes first: a PDF in base64 is megabytes long.
    return "zoho" in text.lower() and _LINK.search(text) is not None


def without_zoho_links(text: str) -> str:
    """Return the text with every Zoho-hosted address replaced. All else in it stays."""
    return _LINK.sub(REMOVED, text) if holds_zoho_link(text) else text


def refuse_zoho_links(value: object) -> None:
    """Refuse a value that holds a Zoho-hosted address, however deep in lists and mappings.

    Raises:
        PermanentError: `zoho_link_refused`, a model of ours let through what it must not.
    """
    if isinstance(value, str):
        if holds_zoho_link(value):
            raise PermanentError("an outgoing message holds a link", code="zoho_link_refused")
    elif isinstance(value, Mapping):
        for item in value.values():
            refuse_zoho_links(item)
    elif isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        for item in value:
            refuse_zoho_links(item)
