"""Name the events of a list, as Zoho documents them, in the form that routing keys have."""

from __future__ import annotations

from shared.contracts.webhooks import event_name


def event_names(text: str) -> frozenset[str]:
    """Return our names of the events in a text that holds Zoho's, separated by white space."""
    return frozenset(event_name(name) for name in text.split())
