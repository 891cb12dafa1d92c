"""Copy Billing's records to Books after a lag, as Zoho's own Billing–Books integration does.

Books gives its own ids. An invoice is found there by its number and its customer. A change made
in Books to an invoice of Billing goes back to Billing.
Source: https://www.zoho.com/billing/help/integrations/books.html; no page says that ids are shared.
"""

from __future__ import annotations

from services.zoho_sandbox.finance.webhooks import announce_record
from services.zoho_sandbox.server.tables import Record
from services.zoho_sandbox.server.world import World


def mirror_customer(world: World, customer: Record) -> None:
    world.call_later(world.lag_s["integration"], lambda: contact_of(world, customer, refresh=True))


def mirror_invoice(world: World, invoice: Record) -> None:
    world.call_later(world.lag_s["integration"], lambda: _put_invoice(world, invoice))


def mirror_payment(world: World, payment: Record) -> None:
    world.call_later(world.lag_s["integration"], lambda: _put_payment(world, payment))


def mirror_refund(world: World, refund: Record) -> None:
    """Copy a refund. Billing refunds by a credit note, and Books shows that note and its refund."""
    world.call_later(world.lag_s["integration"], lambda: _put_refund(world, refund))


def mirror_credit_note(world: World, note: Record) -> None:
    world.call_later(world.lag_s["integration"], lambda: _put_credit_note(world, note))


def remove_credit_note(world: World, note: Record) -> None:
    """Remove the copy of a credit note that was deleted in Billing."""
    world.call_later(world.lag_s["integration"], lambda: _drop_credit_note(world, note))


def catch_up(world: World) -> None:
    """Copy the records whose copy was interrupted when the sandbox stopped."""
    for invoice in world.table("billing", "invoices"):
        mirror_invoice(world, invoice)
    for payment in world.table("billing", "payments"):
        if payment["status"] == "success":
            mirror_payment(world, payment)


def reflect_invoice(world: World, mirrored: Record) -> None:
    """Copy a change of status made in Books back to Billing."""
    invoices = world.table("billing", "invoices")
    for invoice in invoices:
        if invoice["number"] == mirrored["invoice_number"]:
            for name in ("status", "balance", "write_off_amount"):
                invoice[name] = mirrored[name]
            invoice["updated_time"] = world.clock.finance_time()
            invoices.save(invoice)


def contact_of(world: World, customer: Record, *, refresh: bool = False) -> Record:
    """Return the contact in Books of a customer in Billing. Create it when it is not there yet."""
    contacts = world.table("books", "contacts")
    for contact in contacts:
        if contact.get("_billing_customer_id") == customer["customer_id"]:
            if refresh:
                contact.update(_contact_fields(world, customer))
                contacts.save(contact)
            return contact
    now = world.clock.finance_time()
    return contacts.add(
        {
            "contact_id": world.ids.new("books"),
            **_contact_fields(world, customer),
            "contact_type": "customer",
            "customer_sub_type": "business",
            "currency_code": customer["currency_code"],
            "custom_fields": [],
            "outstanding_receivable_amount": 0,
            "unused_credits_receivable_amount": 0,
            "created_time": now,
            "_billing_customer_id": customer["customer_id"],
        }
    )


def _contact_fields(world: World, customer: Record) -> Record:
    return {
        "contact_name": customer["display_name"],
        "company_name": customer["company_name"],
        "first_name": customer["first_name"],
        "last_name": customer["last_name"],
        "email": customer["email"],
        "phone": customer["phone"],
        "mobile": customer["mobile"],
        "status": customer["status"],
        "last_modified_time": world.clock.finance_time(),
    }


def _customer(world: World, record: Record) -> Record | None:
    return world.table("billing", "customers").get(record["customer_id"])


def _put_invoice(world: World, invoice: Record) -> None:
    owner = _customer(world, invoice)
    if owner is None:
        return
    table = world.table("books", "invoices")
    existing = next((row for row in table if row["invoice_number"] == invoice["number"]), None)
    contact = contact_of(world, owner)
    record = existing or {
        "invoice_id": world.ids.new("books"),
        "created_time": world.clock.finance_time(),
        "invoice_url": "https://books.zoho.com/SecurePayment?CInvoiceID="
        f"2-{world.ids.new('books')}",
        "custom_fields": [],
        "reference_number": "",
    }
    record.update(_invoice_fields(world, invoice, contact))
    table.save(record)
    announce_record(world, "books", "invoice", record)


def _invoice_fields(world: World, invoice: Record, contact: Record) -> Record:
    return {
        "invoice_number": invoice["number"],
        "date": invoice["invoice_date"],
        "due_date": invoice["due_date"],
        "status": invoice["status"],
        "customer_id": contact["contact_id"],
        "customer_name": contact["contact_name"],
        "email": contact["email"],
        "currency_code": invoice["currency_code"],
        "exchange_rate": 1,
        "line_items": [
            {
                "line_item_id": item["item_id"][:-1] + "3",
                "name": item["name"],
                "description": item["description"],
                "rate": item["price"],
                "quantity": item["quantity"],
                "item_total": item["item_total"],
                "tax_percentage": 0,
            }
            for item in invoice["invoice_items"]
        ],
        "sub_total": invoice["total"],
        "tax_total": 0,
        "total": invoice["total"],
        "balance": invoice["balance"],
        "payment_made": invoice["payment_made"],
        "credits_applied": invoice["credits_applied"],
        "write_off_amount": invoice["write_off_amount"],
        "price_precision": 2,
        "last_modified_time": world.clock.finance_time(),
    }


def _put_payment(world: World, payment: Record) -> None:
    owner = _customer(world, payment)
    table = world.table("books", "customerpayments")
    if owner is None or any(
        row.get("_billing_payment_id") == payment["payment_id"] for row in table
    ):
        return
    contact = contact_of(world, owner)
    by_number = {row["invoice_number"]: row for row in world.table("books", "invoices")}
    applied = [
        {**part, "invoice_id": by_number[part["invoice_number"]]["invoice_id"]}
        for part in payment["invoices"]
        if part["invoice_number"] in by_number
    ]
    spent = sum(part["amount_applied"] for part in applied)
    record = table.add(
        {
            "payment_id": world.ids.new("books"),
            "payment_number": str(len(table) + 1),
            "customer_id": contact["contact_id"],
            "customer_name": contact["contact_name"],
            "email": contact["email"],
            "payment_mode": payment["payment_mode"],
            "amount": payment["amount"],
            "bcy_amount": payment["amount"],
            "amount_refunded": 0,
            "unused_amount": round(payment["amount"] - spent, 2),
            "date": payment["date"],
            "status": "success",
            "reference_number": payment["reference_number"],
            "description": payment["description"],
            "invoices": applied,
            "invoice_numbers": ", ".join(part["invoice_number"] for part in applied),
            "currency_code": payment["currency_code"],
            "exchange_rate": 1,
            "custom_fields": [],
            "created_time": world.clock.finance_time(),
            "last_modified_time": world.clock.finance_time(),
            "_billing_payment_id": payment["payment_id"],
        }
    )
    announce_record(world, "books", "payment", record)


def _credit_note_copy(world: World, note: Record) -> Record | None:
    number = note["creditnote_number"]
    table = world.table("books", "creditnotes")
    return next((row for row in table if row["creditnote_number"] == number), None)


def _put_credit_note(world: World, note: Record) -> Record | None:
    """Add or update the copy. Returns None when Billing's customer is gone."""
    owner = _customer(world, note)
    if owner is None:
        return None
    contact = contact_of(world, owner)
    record = _credit_note_copy(world, note) or {
        "creditnote_id": world.ids.new("books"),
        "creditnote_number": note["creditnote_number"],
        "reference_number": "",
        "exchange_rate": 1,
        "created_time": world.clock.finance_time(),
    }
    record |= {
        "status": note["_status"],
        "date": note["date"],
        "total": note["amount"],
        "balance": note["balance_amount"],
        "customer_id": contact["contact_id"],
        "customer_name": contact["contact_name"],
        "currency_code": note["_currency_code"],
        "last_modified_time": world.clock.finance_time(),
    }
    world.table("books", "creditnotes").save(record)
    announce_record(world, "books", "creditnote", record)
    return record


def _drop_credit_note(world: World, note: Record) -> None:
    if record := _credit_note_copy(world, note):
        world.table("books", "creditnotes").remove(record["creditnote_id"])


def _put_refund(world: World, refund: Record) -> None:
    billed = world.table("billing", "creditnotes").get(refund["creditnote"]["creditnote_id"])
    note = _put_credit_note(world, billed) if billed is not None else None
    if note is None:
        return
    world.table("books", "creditnote_refunds").add(
        {
            "creditnote_refund_id": world.ids.new("books"),
            "creditnote_id": note["creditnote_id"],
            "date": refund["date"],
            "refund_mode": "others",
            "reference_number": "",
            "creditnote_number": note["creditnote_number"],
            "customer_name": note["customer_name"],
            "description": refund["description"],
            "amount_bcy": refund["amount"],
            "amount_fcy": refund["amount"],
        }
    )
