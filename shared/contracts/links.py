"""No Zoho-hosted address leaves in what we send: customers never see a Zoho page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from shared.errors import PermanentError

# zoho.*, zohoapis.*, zohosecurepay.*, zohobilling.*, zohopublic.*, zohocloud.ca and whatever else
# begins so. An address at zoho.com is a person's mailbox, not a page, and stays: hence no "@".
# Source: the list of fields that hold such links, in the reference of Billing and Books §2.7.
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
    """The text with every Zoho-hosted address replaced; what people wrote stays otherwise."""
    return _LINK.sub(REMOVED, text) if holds_zoho_link(text) else text


def no_zoho(value: object) -> None:
    """Refuse a value that holds a Zoho-hosted address, however deep in lists and mappings.

    Raises:
        PermanentError: `zoho_link_refused`; our models let something through that they must not.
    """
    if isinstance(value, str):
        if holds_zoho_link(value):
            raise PermanentError("an outgoing message holds a link", code="zoho_link_refused")
    elif isinstance(value, Mapping):
        for item in value.values():
            no_zoho(item)
    elif isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
        for item in value:
            no_zoho(item)
