"""Pure rules, as tables of cases."""

import io
from datetime import date
from decimal import Decimal

import pytest
from pypdf import PdfReader, PdfWriter
from pypdf.annotations import Link
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

from services.billing_worker.customers.user_fields import display_name
from services.billing_worker.id_conflicts import ensure_same_request
from services.billing_worker.invoices.pdf_links import without_links
from services.billing_worker.reports.revenue import receivables_by_age
from services.billing_worker.repositories.decisions import replaces
from services.billing_worker.repositories.subscriptions import StoredSubscription
from services.billing_worker.subscriptions.change_cause import cause_of
from services.zoho_sandbox.finance.invoice_pdf import invoice_pdf
from shared.contracts.commands import SubscriptionChangeRequested
from shared.errors import PermanentError
from shared.zoho.products.books.models import Invoice


def state(status: str, plan: str = "basic", ends: int = 1) -> StoredSubscription:
    return StoredSubscription(
        org="default",
        subscription_id="s1",
        user_id="u1",
        zoho_id="z",
        origin="application",
        status=status,
        plan_code=plan,
        quantity=Decimal(1),
        term_ends_at=date(2026, ends, 1),
        zoho_updated_at=None,
        read_at=None,
    )


@pytest.mark.parametrize(
    ("before", "now", "cause"),
    [
        (state(""), state("live"), "requested"),
        (state("live"), state("live", ends=2), "renewed"),
        (state("live"), state("live", plan="pro", ends=2), "changed"),
        (state("trial"), state("live", ends=2), "activated"),
        (state("live"), state("dunning", ends=2), "payment_failed"),
        (state("unpaid"), state("live"), "payment_succeeded"),
        (state("live"), state("non_renewing"), "cancellation_scheduled"),
        (state("non_renewing"), state("live"), "reactivated"),
        (state("non_renewing"), state("cancelled"), "cancelled"),
        (state("dunning"), state("cancelled_from_dunning"), "cancelled"),
        (state("trial"), state("trial_expired"), "expired"),
        (state("live"), state("paused"), "paused"),
        (state("paused"), state("live"), "resumed"),
    ],
)
def test_the_cause_of_a_change_follows_from_the_states(
    before: StoredSubscription, now: StoredSubscription, cause: str
) -> None:
    assert cause_of(before, now) == cause


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"email": "a@b.example", "full_name": "Ada F.", "first_name": "X"}, "Ada F."),
        ({"email": "a@b.example", "first_name": "Ada", "last_name": "Fair"}, "Ada Fair"),
        ({"email": "a@b.example", "last_name": "Fairweather"}, "Fairweather"),
        ({"email": "ada@b.example", "full_name": ""}, "ada"),
    ],
)  # fmt: skip
def test_every_user_has_a_display_name(fields: dict[str, str], name: str) -> None:
    assert display_name(fields) == name


@pytest.mark.parametrize(
    ("due", "bucket"),
    [
        (date(2026, 6, 30), "not_due"),
        (date(2026, 7, 1), "not_due"),
        (date(2026, 5, 31), "days_1_30"),
        (date(2026, 5, 30), "days_31_60"),
        (date(2026, 4, 1), "days_61_90"),
        (date(2026, 3, 31), "over_90_days"),
    ],
)
def test_a_balance_ages_by_its_due_date(due: date, bucket: str) -> None:
    invoice = Invoice.model_validate(
        {
            "invoice_id": "1",
            "status": "sent",
            "date": "2026-01-01",
            "due_date": due.isoformat(),
            "balance": 7,
            "currency_code": "USD",
        }
    )

    ages = receivables_by_age([invoice], date(2026, 6, 30))["USD"]

    assert {name: amount for name, amount in ages.items() if amount} == {bucket: Decimal(7)}


@pytest.mark.parametrize(
    "done",
    [
        {"payment_id": "z", "amount": "5", "currency": "USD", "invoice_id": "i1"},
        {"payment_id": "z", "amount": "5"},  # found at Zoho
        {"payment_id": "z"},  # as it was remembered before wishes were
    ],
)
def test_the_same_request_counts_as_done(done: dict[str, str]) -> None:
    ensure_same_request({"amount": "5", "currency": "USD", "invoice_id": None}, done, "payment_id")


def test_another_request_under_the_same_id_is_refused() -> None:
    with pytest.raises(PermanentError) as refused:
        ensure_same_request({"amount": "6"}, {"payment_id": "z", "amount": "5"}, "payment_id")
    assert refused.value.code == "id_taken"


def test_links_and_drawn_addresses_are_removed_from_a_pdf() -> None:
    pdf = invoice_pdf("INV-1", "Ada", 12.0, "USD", "https://zohosecurepay.com/billing/1/pay")

    cleaned = without_links(pdf)

    page = PdfReader(io.BytesIO(cleaned)).pages[0]
    assert "INV-1" in page.extract_text()
    assert "[link removed]" in page.extract_text()
    assert not page.get("/Annots")
    assert b"zoho" not in cleaned


def test_other_links_of_a_pdf_stay() -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_plain_pdf())))
    writer.add_annotation(0, Link(rect=(0, 0, 9, 9), url="https://shop.example.com/help"))
    output = io.BytesIO()
    writer.write(output)

    page = PdfReader(io.BytesIO(without_links(output.getvalue()))).pages[0]

    assert len(page["/Annots"]) == 1


def test_metadata_with_a_zoho_link_is_removed() -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_plain_pdf())))
    writer.add_metadata({"/Producer": "made at books.zoho.com", "/Title": "Invoice"})
    output = io.BytesIO()
    writer.write(output)

    cleaned = PdfReader(io.BytesIO(without_links(output.getvalue())))

    assert cleaned.metadata is not None
    assert cleaned.metadata.title == "Invoice"
    assert "zoho" not in str(cleaned.metadata)


def test_a_pdf_is_refused_when_a_link_cannot_be_removed() -> None:
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(_plain_pdf())))
    hidden = DictionaryObject({NameObject("/Where"): TextStringObject("https://books.zoho.com/x")})
    writer.pages[0][NameObject("/PieceInfo")] = hidden
    output = io.BytesIO()
    writer.write(output)

    with pytest.raises(PermanentError) as refused:
        without_links(output.getvalue())
    assert refused.value.code == "pdf_contains_zoho_link"


def test_a_file_that_is_no_pdf_is_refused() -> None:
    with pytest.raises(PermanentError) as refused:
        without_links(b"<html>Sign in to Zoho</html>")
    assert refused.value.code == "pdf_contains_zoho_link"


def _plain_pdf() -> bytes:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    output = io.BytesIO()
    writer.write(output)
    return output.getvalue()


@pytest.mark.parametrize(
    ("earlier", "later", "replaced"),
    [
        ({}, {}, True),
        ({}, {"quantity": 3}, True),
        ({"quantity": 2}, {"quantity": 3}, True),
        ({"quantity": 2}, {}, False),
        ({"addons": [{"addon_code": "seats"}]}, {"quantity": 3}, False),
        ({"addons": [{"addon_code": "seats"}]}, {"addons": []}, True),
        ({}, {"at_term_end": True}, False),
        ({"at_term_end": True}, {"at_term_end": True}, True),
        ({}, {"subscription_id": "s2"}, False),
    ],
)
def test_a_change_gives_way_only_to_one_that_names_all_that_it_names(
    earlier: dict[str, object], later: dict[str, object], replaced: bool
) -> None:
    change = {"subscription_id": "s1", "plan_code": "pro-monthly"}
    message = SubscriptionChangeRequested.model_validate({**change, **earlier})

    assert replaces({**change, **later}, message) is replaced
