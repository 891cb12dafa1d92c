"""Make up the books of a large organization, and work out its figures in whole cents.

The figures are added up while the records are made, by rules written here once more: nothing of
billing-worker's is used.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

Record = dict[str, Any]

FIRST: Final = date(2025, 1, 1)
LAST: Final = date(2025, 3, 31)
CURRENCIES: Final = ("USD", "EUR", "GBP")
_CUSTOMERS: Final = 90
_STATUSES: Final = ("paid", "sent", "overdue", "partially_paid")


@dataclass
class LargeOrganization:
    """Its records in Books, and cents by currency as they have to be reported for the range."""

    seed: int = 5
    records: dict[str, list[Record]] = field(default_factory=dict)
    earned: Counter[str] = field(default_factory=Counter)
    earned_in_february: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)  # noqa: S311 - the same books in every run
        self._number = 0
        self.records = {
            "currencies": [
                {"currency_id": self._id(), "currency_code": code} for code in CURRENCIES[1:]
            ],
            "contacts": [self._contact(n) for n in range(_CUSTOMERS)],
            "invoices": list(self._invoices(5000)),
            "creditnotes": list(self._credit_notes(1000)),
            "customerpayments": [],
            "payment_refunds": [],
            "creditnote_refunds": [],
        }
        for _ in range(600):
            self._pay()
        for note in self.records["creditnotes"][:150]:
            self._refund_note(note)

    def _id(self) -> str:
        self._number += 1
        return f"4600000000{self._number:08}"

    def _contact(self, n: int) -> Record:
        return {
            "contact_id": f"4700000000{n:08}",
            "contact_name": f"Customer {n}",
            "contact_type": "customer",
            "currency_code": CURRENCIES[n % len(CURRENCIES)],
            "email": f"customer{n}@example.com",
            "created_time": "2024-01-01T00:00:00-0800",
        }

    def _day(self) -> date:
        """Mostly in the range. One in sixteen is within two weeks of its edges, outside."""
        if self._chance.random() < 1 / 16:
            outside = self._chance.randrange(1, 15)
            before = self._chance.random() < 0.5
            return FIRST - timedelta(outside) if before else LAST + timedelta(outside)
        return FIRST + timedelta(self._chance.randrange((LAST - FIRST).days + 1))

    def _cents(self) -> int:
        return self._chance.randrange(1, 500_000)

    def _earn(self, currency: str, day: date, cents: int) -> None:
        if FIRST <= day <= LAST:
            self.earned[currency] += cents
            if day.month == 2:
                self.earned_in_february[currency] += cents

    def _invoices(self, count: int) -> Iterator[Record]:
        for n in range(count):
            contact, day, cents = n % _CUSTOMERS, self._day(), self._cents()
            currency = CURRENCIES[contact % len(CURRENCIES)]
            status = self._chance.choice(_STATUSES)
            written_off = 0
            if n % 40 == 0:
                status = "void" if n % 80 else "draft"
            else:
                written_off = cents // 3 if n % 77 == 0 else 0
                self._earn(currency, day, cents - written_off)
            yield {
                "invoice_id": self._id(),
                "invoice_number": f"INV-{n:05}",
                "customer_id": f"4700000000{contact:08}",
                "status": status,
                "date": str(day),
                "due_date": str(day + timedelta(15)),
                "currency_code": currency,
                "total": cents / 100,
                "balance": 0 if status == "paid" else (cents - written_off) / 100,
                "write_off_amount": written_off / 100,
                "line_items": [],
                # Every tenth is the application's own.
                "custom_fields": [{"api_name": "cf_app_invoice_id", "value": f"own-{n}"}]
                if n % 10 == 1
                else [],
                "created_time": f"{day}T{n % 24:02}:{n % 60:02}:00-0800",
            }

    def _credit_notes(self, count: int) -> Iterator[Record]:
        for n in range(count):
            currency, day, cents = CURRENCIES[n % len(CURRENCIES)], self._day(), self._cents() // 9
            if void := n % 25 == 0:
                status = "void"
            else:
                status = "open"
                self._earn(currency, day, -cents)
            yield {
                "creditnote_id": self._id(),
                "creditnote_number": f"CN-{n:05}",
                "status": status,
                "date": str(day),
                "total": cents / 100,
                "balance": 0 if void else cents / 100,
                "currency_code": currency,
                "created_time": f"{day}T09:00:{n % 60:02}-0800",
            }

    def _pay(self) -> None:
        """A payment. One in twenty is refunded some days later, maybe over the range's edge."""
        contact, day, cents = self._chance.randrange(_CUSTOMERS), self._day(), self._cents()
        currency = CURRENCIES[contact % len(CURRENCIES)]
        refunded = cents // 2 if self._chance.random() < 1 / 20 else 0
        refunded_on = day + timedelta(self._chance.randrange(20))
        if FIRST <= day <= LAST:
            self.paid[currency] += cents
        payment_id = self._id()
        self.records["customerpayments"].append(
            {
                "payment_id": payment_id,
                "customer_id": f"4700000000{contact:08}",
                "date": str(day),
                "amount": cents / 100,
                "amount_refunded": refunded / 100,
                "currency_code": currency,
                "created_time": f"{day}T10:00:00-0800",
                "last_modified_time": f"{refunded_on if refunded else day}T10:00:00-0800",
            }
        )
        if not refunded:
            return
        if FIRST <= refunded_on <= LAST:
            self.paid[currency] -= refunded
        self.records["payment_refunds"].append(
            {
                "payment_refund_id": self._id(),
                "payment_id": payment_id,
                "date": str(refunded_on),
                "amount_bcy": refunded / 100,
                "amount_fcy": refunded / 100,
            }
        )

    def _refund_note(self, note: Record) -> None:
        cents = round(note["total"] * 100) // 2
        refunded_on = date.fromisoformat(note["date"]) + timedelta(self._chance.randrange(20))
        if FIRST <= refunded_on <= LAST:
            self.paid[note["currency_code"]] -= cents
        self.records["creditnote_refunds"].append(
            {
                "creditnote_refund_id": self._id(),
                "creditnote_id": note["creditnote_id"],
                "date": str(refunded_on),
                "amount_bcy": cents / 100,
                "amount_fcy": cents / 100,
            }
        )
