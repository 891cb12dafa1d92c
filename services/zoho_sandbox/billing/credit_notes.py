"""Serve the credit notes that staff create in Billing. Refunds create notes of their own.

Source: https://www.zoho.com/billing/api/v1/credit-notes/.
"""

from __future__ import annotations

from aiohttp import web

from services.zoho_sandbox.billing.customers import customer
from services.zoho_sandbox.billing.events import announce
from services.zoho_sandbox.finance import integration
from services.zoho_sandbox.finance.dialect import Rejected, invalid, money, not_found, ok, shown
from services.zoho_sandbox.server.routes import ApiCall, Routes
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World

_SCOPE = "ZohoSubscriptions.creditnotes"


def add_routes(routes: Routes) -> None:
    path = "/creditnotes/{creditnote_id}"
    routes.add("POST", "/creditnotes", "create_credit_note", _create, scope=f"{_SCOPE}.CREATE")
    routes.add("GET", path, "retrieve_credit_note", _retrieve, scope=f"{_SCOPE}.READ")
    routes.add("POST", f"{path}/void", "void_credit_note", _void, scope=f"{_SCOPE}.CREATE")
    routes.add("DELETE", path, "delete_credit_note", _delete, scope=f"{_SCOPE}.DELETE")


def new_credit_note(world: World, owner: Record, amount: float, **details: object) -> Record:
    """Add a credit note. `details` may hold `date`, `balance_amount` and `refund_amount`."""
    number = f"CN-{len(world.table('billing', 'creditnotes')) + 1:05d}"
    return world.table("billing", "creditnotes").add(
        {
            "creditnote_id": world.ids.new("billing"),
            "creditnote_number": number,
            "customer_id": owner["customer_id"],
            "date": world.clock.today().isoformat(),
            "amount": amount,
            "refund_amount": 0,
            "balance_amount": amount,
            "_status": "open",
            "_currency_code": owner["currency_code"],
            **details,
        }
    )


async def _create(call: ApiCall) -> web.Response:
    sent = call.json()
    owner = customer(call.world, sent.get("customer_id"))
    items = sent.get("creditnote_items") or []
    total = sum(money(item.get("price")) * int(item.get("quantity", 1)) for item in items)
    if total <= 0:
        raise invalid("creditnote_items")
    day = str(sent.get("date") or call.world.clock.today().isoformat())
    note = new_credit_note(call.world, owner, round(total, 2), date=day)
    integration.mirror_credit_note(call.world, note)
    announce(call.world, "creditnote_added", {"creditnote": _full(note)})
    return ok("Credit Note created successfully.", status=201, credit_note=_full(note))


async def _retrieve(call: ApiCall) -> web.Response:
    return ok(credit_note=_full(_known(call)))


async def _void(call: ApiCall) -> web.Response:
    note = _known(call)
    note.update(_status="void", balance_amount=0)
    call.world.table("billing", "creditnotes").save(note)
    integration.mirror_credit_note(call.world, note)
    return ok("The credit note has been marked as void.")


async def _delete(call: ApiCall) -> web.Response:
    """Delete a note of which nothing was refunded. Books loses its copy too."""
    note = _known(call)
    if note["refund_amount"]:
        raise Rejected(400, 1015, "A credit note that has been refunded cannot be deleted.")
    call.world.table("billing", "creditnotes").remove(note["creditnote_id"])
    integration.remove_credit_note(call.world, note)
    announce(call.world, "creditnote_deleted", {"creditnote": _full(note)})
    return ok("The credit note has been deleted.")


def _known(call: ApiCall) -> Record:
    note = call.world.table("billing", "creditnotes").get(call.path("creditnote_id"))
    if note is None:
        raise not_found("Credit note")
    return note


def _full(note: Record) -> Record:
    """Return the note as its own endpoints show it, which is more than refunds show."""
    return {
        **shown(note),
        "status": note["_status"],
        "total": note["amount"],
        "balance": note["balance_amount"],
        "currency_code": note["_currency_code"],
        "currency_symbol": "$",
    }
