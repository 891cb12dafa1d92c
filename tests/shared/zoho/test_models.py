"""Test that what Zoho sends becomes exact values, however Zoho spells them."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pydantic import ValidationError

from shared.zoho.products.billing.models import Customer, Subscription
from shared.zoho.products.books.models import Invoice
from shared.zoho.products.crm.models import ContactToSend, CrmContact, rows_of
from shared.zoho.products.desk.models import HistoryEntry, Ticket

_SUBSCRIPTION = {
    "subscription_id": "90300000079200123",
    "status": "live",
    "amount": 50,
    "plan": {"plan_code": "basic-monthly", "quantity": 1},
    "customer": {"customer_id": "903000000000099", "email": "a@b.example"},
    "updated_time": "2016-06-04T16:44:15-0700",
    "current_term_ends_at": "2016-07-05",
    "cancelled_at": "",
    "child_invoice_id": "",
    "card": {},
    "something_new": {"deep": 1},
}


def test_a_subscription_of_a_read_and_of_a_list_say_the_same() -> None:
    read = Subscription.model_validate(_SUBSCRIPTION)
    listed = Subscription.model_validate(
        {"subscription_id": 90300000079200123, "status": "live", "customer_id": "903000000000099"}
    )

    assert read.subscription_id == listed.subscription_id == "90300000079200123"
    assert read.customer_id == listed.customer_id
    assert read.updated_time == datetime(2016, 6, 4, 23, 44, 15, tzinfo=UTC)
    assert read.current_term_ends_at == date(2016, 7, 5)
    assert (read.cancelled_at, read.child_invoice_id, read.card) == (None, None, None)


def test_an_id_that_lost_digits_is_refused() -> None:
    with pytest.raises(ValidationError):
        Subscription.model_validate({**_SUBSCRIPTION, "subscription_id": 9.03e16})


@pytest.mark.parametrize("total", [100.1, "100.1", "100.10", Decimal("100.1")])
def test_money_is_exact(total: object) -> None:
    invoice = Invoice.model_validate({"invoice_id": "1", "total": total, "sub_total": ""})

    assert (invoice.total, invoice.sub_total) == (Decimal("100.1"), None)


def test_a_custom_field_is_found_by_label_and_by_api_name() -> None:
    customer = Customer.model_validate(
        {
            "customer_id": "1",
            "custom_fields": [{"label": "App User", "api_name": "cf_app_user", "value": "u1"}],
        }
    )

    assert customer.custom_field("App User") == customer.custom_field("cf_app_user") == "u1"
    assert customer.custom_field("other") is None


def test_what_zoho_describes_does_not_show_in_logs() -> None:
    assert "a@b.example" not in repr(Subscription.model_validate(_SUBSCRIPTION))


def test_crm_rows_keep_their_places() -> None:
    rows = rows_of(
        {
            "data": [
                {
                    "status": "success",
                    "code": "SUCCESS",
                    "action": "insert",
                    "details": {"id": "1"},
                },
                {"status": "error", "code": "INVALID_DATA", "details": {"api_name": "Phone"}},
                {
                    "status": "error",
                    "code": "DUPLICATE_DATA",
                    "details": {"duplicate_record": {"id": "9"}, "api_name": "Email"},
                },
            ]
        }
    )

    assert [(row.ok, row.id, row.field) for row in rows] == [
        (True, "1", None),
        (False, None, "Phone"),
        (False, "9", "Email"),
    ]


def test_a_contact_is_sent_so_that_crm_takes_it() -> None:
    row = ContactToSend(
        user_id="u1", email="ada@b.example", first_name="A" * 99, phone="+1/2/3"
    ).row(user_field="App_User_Id", tier_field=None)

    assert row == {
        "Email": "ada@b.example",
        "First_Name": "A" * 40,
        "Last_Name": "ada",
        "App_User_Id": "u1",
    }


def test_a_contacts_tags_are_their_names() -> None:
    contact = CrmContact.of({"id": "1", "Tag": [{"name": "Trial", "id": "2"}], "X": 1})

    assert contact.tag_names == {"Trial"}
    assert contact.fields["X"] == 1


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"statusType": "Closed", "status": "Erledigt"}, "closed"),
        ({"statusType": "ON HOLD", "status": "x"}, "onhold"),
        ({"statusType": "ONHOLD", "status": "x"}, "onhold"),
        ({"statusType": None, "status": "Open"}, "open"),
    ],
)
def test_a_tickets_kind_is_its_types_not_its_words(fields: dict[str, str], kind: str) -> None:
    assert Ticket.model_validate({"id": "1", **fields}).kind == kind


def test_history_tells_the_old_and_the_new_value() -> None:
    entry = HistoryEntry.model_validate(
        {
            "eventTime": "1700000000000",
            "eventInfo": [
                {
                    "propertyName": "Status",
                    "propertyValue": {"previousValue": "Open", "updatedValue": "Closed"},
                }
            ],
        }
    )

    assert entry.change_of("status") == ("Open", "Closed")
    assert entry.time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
