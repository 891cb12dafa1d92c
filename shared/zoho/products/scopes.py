"""Find the OAuth scopes that are needed and were not granted."""

from __future__ import annotations

from collections.abc import Iterable


def missing(needed: Iterable[str], granted: Iterable[str]) -> list[str]:
    """Those of `needed` that nothing in `granted` covers, in their order."""
    have = list(granted)
    return [scope for scope in needed if not any(_covers(one, scope) for one in have)]


def _covers(granted: str, needed: str) -> bool:
    """`X.fullaccess.all` covers all of X. `X.y.ALL` whatever is below X.y. WRITE writes.

    Case does not matter: Zoho's own files mix it.
    """
    have, want = granted.lower().split("."), needed.lower().split(".")
    if have == want or have == [want[0], "fullaccess", "all"]:
        return True
    if have[-1] == "all":
        return want[: len(have) - 1] == have[:-1]
    return have[-1] == "write" and have[:-1] == want[:-1] and want[-1] in ("create", "update")
