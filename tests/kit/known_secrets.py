"""Read from the sandbox's state and the stack's settings what must lie nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from deploy.demo.story import TRANSCRIPT
from tests.kit.leak_search import SHORTEST, Needle

Json = dict[str, Any]

# By product: kind of object → fields that hold an id of a person's records.
IDS: dict[str, dict[str, tuple[str, ...]]] = {
    "billing": {
        "customers": ("customer_id", "primary_contactperson_id"),
        "subscriptions": ("subscription_id",),
        "invoices": ("invoice_id",),
        "payments": ("payment_id",),
    },
    "books": {
        "contacts": ("contact_id",),
        "invoices": ("invoice_id",),
        "customerpayments": ("payment_id",),
    },
    "crm": {"contacts": ("id",)},
    "desk": {"contacts": ("id",), "tickets": ("id",)},
}
KINDS_OF_IDS = {
    f"{product} {kind} {field}"
    for product, kinds in IDS.items()
    for kind, fields in kinds.items()
    for field in fields
}
SECRET_SETTINGS = (
    "ZOHO_CLIENT_SECRET",
    "ZOHO_REFRESH_TOKEN",
    "ZOHO_WEBHOOK_SECRET",
    "ZOHO_CRM_CHANNEL_TOKEN",
    "ZOHO_CRM_WEBHOOK_SECRET",
    "TOKEN_SERVICE_KEY",
)


def zoho_ids(state: Json) -> Iterator[Needle]:
    """The ids that Zoho gave to customers, contacts, subscriptions, invoices, payments, tickets."""
    for product, kinds in IDS.items():
        for kind, fields in kinds.items():
            for thing in state[product].get(kind, ()):
                for field in fields:
                    if thing.get(field):
                        yield Needle(f"{product} {kind} {field}", str(thing[field]))


def secrets(state: Json, settings: dict[str, str]) -> Iterator[Needle]:
    """Access tokens, and the secrets of the settings, key rings included."""
    for token in state["accounts"]["tokens"]:
        yield Needle("access token", token["access_token"])
    for name in SECRET_SETTINGS:
        for value in settings[name].split(","):
            yield Needle(name, value)
    for name in ("DATABASE_URL", "AMQP_URL"):
        yield Needle(f"password in {name}", urlsplit(settings[name]).password or "")
    for ring in ("ENCRYPTION_KEYS", "INDEX_KEYS"):
        for entry in settings[ring].split(","):
            yield Needle(ring, entry.partition(":")[2])


def people(state: Json) -> Iterator[Needle]:
    """Emails, names and phone numbers of everyone who went through the system."""
    for customer in state["billing"]["customers"]:
        if customer["email"]:  # an erased one has none
            yield Needle("email", customer["email"])
        yield from _names(customer["display_name"])
        if customer.get("phone"):
            yield Needle("phone", customer["phone"])
    for contact in state["crm"]["contacts"]:
        if contact["Email"]:
            yield Needle("email", contact["Email"])
        yield from _names(contact["Last_Name"])
    for contact in state["desk"]["contacts"]:
        if contact["email"]:
            yield Needle("email", contact["email"])


def transcript() -> Iterator[Needle]:
    """Return the words of the story's user and the AI support."""
    for turn in TRANSCRIPT:
        yield Needle("transcript", turn["text"])


def _names(name: str) -> Iterator[Needle]:
    for part in {name, *name.split()}:
        if len(part) >= SHORTEST:  # shorter ones are found as part of the whole
            yield Needle("name", part)
