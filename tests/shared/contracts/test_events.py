from datetime import UTC, datetime

import pytest
from jsonschema import Draft202012Validator

from shared.contracts.asyncapi import schemas
from shared.contracts.events import (
    EVENTS,
    CommandFailed,
    ContactSynced,
    NotificationRequested,
    PaymentFailed,
    PaymentFailedNotice,
    SubscriptionChanged,
    TicketCreatedNotice,
    TicketResolved,
    TicketResolvedNotice,
)
from shared.contracts.links import holds_zoho_link, without_zoho_links
from shared.contracts.tier import Tier
from shared.errors import PermanentError

CHANGED = SubscriptionChanged(
    user_id="u1", subscription_id="s1", status="live", active=True, tier=Tier.PAID, cause="renewed"
)
ENVELOPE = {
    "event_id": "5e1f",
    "occurred_at": "2026-01-31T10:00:00Z",
    "org": "default",
    "subject": "user:u1",
    "version": 7,
}


def wire(event):
    return event.model_dump(mode="json", exclude_none=True)


def test_an_event_on_the_wire_matches_its_published_schema():
    sent = ENVELOPE | {"tier_version": 3} | wire(CHANGED)

    Draft202012Validator(schemas()["subscription.changed.v1"]).validate(sent)


def test_a_consumer_reads_the_envelope_and_ignores_fields_of_later_versions():
    event = SubscriptionChanged.model_validate(ENVELOPE | wire(CHANGED) | {"later": 1})

    assert (event.version, event.org, event.tier) == (7, "default", Tier.PAID)
    assert event.subject() == f"subscription:{event.subscription_id}"
    assert event.occurred_at == datetime(2026, 1, 31, 10, tzinfo=UTC)


def test_versions_of_ticket_events_count_per_ticket():
    assert TicketResolved(escalation_id="e1", status="Closed").subject() == "ticket:e1"


def test_absent_fields_stay_off_the_wire():
    assert wire(PaymentFailed(user_id="u1")) == {"user_id": "u1", "origin": "zoho"}


def test_every_event_has_a_routing_key_of_its_own_and_a_description():
    assert len({model.routing_key for model in EVENTS.values()}) == len(EVENTS)
    unnamed = {key for key, model in EVENTS.items() if f"`{key}`" not in (model.__doc__ or "")}
    assert not unnamed, "the docstring of an event says what happened and names its routing key"


def test_a_failed_command_is_reported_under_its_own_routing_key():
    failed = CommandFailed(
        service="billing-worker",
        failed_routing_key="user.signed_up.v1",
        message_id="m1",
        code="invalid_message",
        reason="email: is required",
    )

    assert failed.routing_key == "command.failed.v1"
    assert wire(failed)["routing_key"] == "user.signed_up.v1"
    assert CommandFailed.model_validate(wire(failed)) == failed


def test_nothing_a_sender_wrote_keeps_a_failure_from_being_reported():
    failed = CommandFailed(
        service="unrouted",
        failed_routing_key="books.zoho.com",
        message_id="https://billing.zoho.eu/x",
        code="unknown_command",
        reason="there is no command of this routing key",
    )

    assert not holds_zoho_link(str(wire(failed)))


# --- notifications ---


def test_a_notification_is_read_back_with_the_data_of_its_template():
    requested = NotificationRequested.of(
        TicketCreatedNotice(escalation_id="e1"), email="ada@example.org"
    )

    read = NotificationRequested.model_validate(wire(requested))

    assert isinstance(read.data, TicketCreatedNotice)
    assert (read.template, read.subject()) == ("ticket_created", "ticket:e1")


def test_the_subject_of_a_known_users_notification_is_the_user():
    notice = PaymentFailedNotice(subscription_id="s1")

    requested = NotificationRequested.of(notice, email="ada@example.org", user_id="u1")

    assert requested.subject() == "user:u1"


def test_data_of_another_template_is_refused():
    with pytest.raises(ValueError, match="data must be that of the template"):
        NotificationRequested(
            email="ada@example.org",
            template="ticket_created",
            data=TicketResolvedNotice(escalation_id="e1"),
        )


# --- no link to Zoho leaves ---


@pytest.mark.parametrize(
    "text",
    [
        "https://billing.zoho.com/hostedpage/abc",
        "pay at http://books.zoho.com.au/SecurePayment?x=1 please",
        "zohosecurepay.com/books/abc",
        "//www.zohoapis.eu/billing/v1",
        "HTTPS://ACCOUNTS.ZOHOCLOUD.CA/x",
        "https://user@desk.zoho.in:443/agent",
        "https://example.org/?next=https%3A%2F%2Fbilling.zoho.com%2Fx",
        "www.zohopublic.com",
        "zohobilling.com",
    ],
)
def test_a_zoho_hosted_address_is_found_and_taken_out(text):
    assert holds_zoho_link(text)
    assert not holds_zoho_link(without_zoho_links(text))


@pytest.mark.parametrize(
    "text",
    ["ada@zoho.com", "We use Zoho. Then we left.", "https://zoho-relay.example.org/x", "zoho"],
)
def test_what_is_no_address_of_a_page_stays(text):
    assert without_zoho_links(text) == text


def test_an_event_with_a_zoho_link_cannot_be_made():
    with pytest.raises(PermanentError) as caught:
        ContactSynced(user_id="u1", tier=Tier.FREE, tags=("https://crm.zoho.com/x",))

    assert caught.value.code == "zoho_link_refused"
    assert "crm" not in caught.value.reason


def test_what_people_wrote_is_published_without_its_links():
    resolved = TicketResolved(
        escalation_id="e1", status="Closed", resolution="See https://help.zoho.com/kb/1 for more."
    )

    assert resolved.resolution == "See [link removed] for more."


def test_an_id_of_the_application_is_its_own_business():
    assert wire(PaymentFailed(user_id="zoho.alice"))["user_id"] == "zoho.alice"
