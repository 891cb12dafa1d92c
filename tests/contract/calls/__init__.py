"""List one call of every typed method of our clients: `CALLS`, filled by a module per client."""

from __future__ import annotations

import inspect
from typing import Final

from shared.zoho.products.billing.client import ZohoBilling
from shared.zoho.products.books.client import ZohoBooks
from shared.zoho.products.crm.client import ZohoCrm
from shared.zoho.products.desk.client import ZohoDesk
from shared.zoho.products.setup import ZohoSetup
from tests.contract.calls import billing, books, crm, desk, setup
from tests.contract.calls.given import Act

CALLS: Final[dict[str, Act]] = {
    f"{client}.{name}": act
    for client, calls in (
        ("billing", billing.CALLS),
        ("books", books.CALLS),
        ("crm", crm.CALLS),
        ("desk", desk.CALLS),
        ("setup", setup.CALLS),
    )
    for name, act in calls.acts.items()
}


def method_names() -> list[str]:
    """`billing.create_customer`, … of every method that makes a call."""
    asks_nothing = {"holding", "on", "use_field_form", "user_of"}
    return [
        f"{product}.{name}"
        for product, client in (
            ("billing", ZohoBilling),
            ("books", ZohoBooks),
            ("crm", ZohoCrm),
            ("desk", ZohoDesk),
            ("setup", ZohoSetup),
        )
        for name, _ in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_") and name not in asks_nothing
    ]
