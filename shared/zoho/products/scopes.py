"""OAuth scopes: what our calls need, and whether what was granted covers it.

Sources: the `security` of each operation in Zoho's OpenAPI files. Finance reference §1.7. CRM and
Desk reference §1.1, §2.2, §2.6. Billing's cancel, collect, void and the like are POSTs: CREATE.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

# By product. Asked for one by one: an organization need not give away more.
NEEDED: Final[Mapping[str, Sequence[str]]] = {
    "billing": (
        "ZohoSubscriptions.customers.CREATE",
        "ZohoSubscriptions.customers.READ",
        "ZohoSubscriptions.customers.UPDATE",
        "ZohoSubscriptions.plans.READ",
        "ZohoSubscriptions.subscriptions.CREATE",
        "ZohoSubscriptions.subscriptions.READ",
        "ZohoSubscriptions.subscriptions.UPDATE",
        "ZohoSubscriptions.invoices.CREATE",
        "ZohoSubscriptions.invoices.READ",
        "ZohoSubscriptions.payments.CREATE",
        "ZohoSubscriptions.payments.READ",
        "ZohoSubscriptions.creditnotes.CREATE",
        "ZohoSubscriptions.webhooks.READ",
    ),
    "books": (
        "ZohoBooks.contacts.READ",
        "ZohoBooks.invoices.CREATE",
        "ZohoBooks.invoices.READ",
        "ZohoBooks.invoices.UPDATE",
        "ZohoBooks.customerpayments.READ",
        "ZohoBooks.creditnotes.READ",
        "ZohoBooks.settings.READ",
    ),
    "crm": (
        "ZohoCRM.modules.ALL",
        "ZohoCRM.settings.fields.READ",
        "ZohoCRM.settings.tags.ALL",
        "ZohoCRM.notifications.ALL",
        "ZohoCRM.org.READ",
    ),
    "desk": (
        "Desk.tickets.CREATE",
        "Desk.tickets.READ",
        "Desk.tickets.UPDATE",
        "Desk.contacts.READ",
        "Desk.contacts.UPDATE",
        "Desk.search.READ",
        "Desk.basic.READ",
        "Desk.settings.READ",
        "Desk.events.READ",
    ),
}

ALL_NEEDED: Final = tuple(scope for scopes in NEEDED.values() for scope in scopes)


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
