import json
from datetime import UTC, date, datetime

import pytest

from shared.contracts.webhooks import WebhookReceived, event_name
from shared.contracts.zoho_payloads import BillingWebhook, CrmNotification, DeskWebhook

PAYMENT = {"payment_id": "46000000001", "amount": 20.5, "invoices": [{"invoice_id": "9"}]}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("payment_thankyou", "payment_succeeded"),
        ("payment_succeeded", "payment_succeeded"),
        ("payment_declined", "payment_failed"),
        ("Ticket_Update", "ticket_update"),
        ("Contacts.edit", "contacts_edit"),
        ("#", "unknown"),
        ("x" * 300, "x" * 100),
    ],
)
def test_zohos_names_become_words_of_a_routing_key(raw, name):
    assert event_name(raw) == name


def test_a_webhook_travels_under_its_product_and_event():
    webhook = WebhookReceived(
        webhook_id="w1",
        product="billing",
        event="subscription_renewed",
        received_at=datetime(2026, 1, 31, tzinfo=UTC),
        payload={"data": {}},
    )

    assert webhook.routing_key == "billing.subscription_renewed.v1"
    assert WebhookReceived.model_validate_json(webhook.model_dump_json()) == webhook


@pytest.mark.parametrize(
    "body",
    [
        {"event_type": "payment_declined", "data": {"payment": PAYMENT}},
        {"event_type": "payment_declined", "payload": json.dumps({"payment": PAYMENT})},
        {"payment": PAYMENT},
        {"organization_id": "1", "customerpayment": PAYMENT},
    ],
)
def test_a_payment_is_found_in_every_shape_that_was_seen(body):
    payment = BillingWebhook.of(body).payment

    assert payment
    assert (payment.payment_id, payment.invoice_id) == ("46000000001", "9")


def test_the_specifications_shape_gives_subscription_and_email():
    webhook = BillingWebhook.of(
        {
            "event_type": "subscription_renewed",
            "data": {
                "subscription": {"subscription_id": "1"},
                "customer": {"email": "ada@example.org"},
            },
        }
    )

    assert webhook.subscription
    assert webhook.subscription.subscription_id == "1"
    assert webhook.email == "ada@example.org"


def test_zohos_own_shape_has_the_customer_in_the_resource_and_times_without_a_colon():
    webhook = BillingWebhook.of(
        {
            "event_id": 5675,
            "event_time": "2026-01-31T02:30:08-0700",
            "data": {
                "subscription": {
                    "subscription_id": 46000000001234567,
                    "status": "live",
                    "plan": {"plan_code": "pro-monthly"},
                    "customer": {"customer_id": "7", "email": "ada@example.org"},
                    "current_term_ends_at": "2026-02-28",
                }
            },
        }
    )

    assert webhook.event_id == "5675"
    assert webhook.event_time == datetime(2026, 1, 31, 9, 30, 8, tzinfo=UTC)
    assert (webhook.customer_id, webhook.email) == ("7", "ada@example.org")
    assert webhook.subscription
    assert webhook.subscription.subscription_id == "46000000001234567"
    assert webhook.subscription.plan_code == "pro-monthly"
    assert webhook.subscription.term_ends_at == date(2026, 2, 28)


def test_what_cannot_be_read_is_absent():
    webhook = BillingWebhook.of(
        {"event_time": "soon", "data": {"payment": {"amount": "", "payment_id": ["?"]}}}
    )

    assert webhook.event_time is None
    assert webhook.payment
    assert (webhook.payment.amount, webhook.payment.payment_id) == (None, None)


def test_a_desk_event_shows_the_state_before_and_after():
    webhook = DeskWebhook.model_validate(
        {
            "eventType": "Ticket_Update",
            "eventTime": "1769853600000",
            "orgId": "1",
            "payload": {
                "id": "99",
                "statusType": "Closed",
                "closedTime": "2026-01-31T10:00:00.000Z",
            },
            "prevState": {"statusType": "Open"},
        }
    )

    assert webhook.event_time == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert (webhook.ticket.ticket_id, webhook.ticket.status_type) == ("99", "Closed")
    assert webhook.before
    assert webhook.before.status_type == "Open"


def test_a_crm_notification_names_many_records():
    notification = CrmNotification.model_validate(
        {
            "module": "Contacts",
            "operation": "update",
            "ids": ["1", "2"],
            "server_time": 1769853600000,
        }
    )

    assert notification.ids == ("1", "2")
