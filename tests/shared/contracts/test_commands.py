import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.contracts.asyncapi import schema_of_command
from shared.contracts.commands import (
    COMMANDS,
    MAX_BODY_BYTES,
    PaymentRecordRequested,
    References,
    UserUpdated,
    parse_command,
)
from shared.contracts.money import as_money
from shared.errors import InvalidMessage
from tests.shared.contracts import samples


def parsed(key, **fields):
    return parse_command(key, json.dumps({**samples.COMMANDS[key], **fields}).encode())


def refusal(key, body):
    with pytest.raises(InvalidMessage) as caught:
        parse_command(key, body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def test_every_command_has_a_sample_here():
    assert set(samples.COMMANDS) == set(COMMANDS), "COMMANDS of samples.py has one for each"


@pytest.mark.parametrize("key", COMMANDS)
def test_a_good_body_is_accepted_by_the_model_and_by_its_published_schema(key):
    command = parsed(key, occurred_at="2026-01-31T10:00:00+01:00")

    assert command.routing_key == key
    Draft202012Validator(schema_of_command(COMMANDS[key])).validate(samples.COMMANDS[key])


@pytest.mark.parametrize("key", COMMANDS)
def test_an_unknown_field_is_refused_by_name(key):
    error = refusal(key, {**samples.COMMANDS[key], "emial": "x"})

    assert error.code == "invalid_message"
    assert "emial: is not a field of this message" in error.reason


@pytest.mark.parametrize(
    ("key", "fields", "reason"),
    [
        ("user.signed_up.v1", {"user_id": ""}, "user_id: must be visible ASCII"),
        ("user.signed_up.v1", {"user_id": " u1"}, "user_id: must be visible ASCII"),
        ("user.signed_up.v1", {"user_id": "u1\n"}, "user_id: must be visible ASCII"),
        ("user.signed_up.v1", {"user_id": "u" * 129}, "user_id: must have at most 128 characters"),
        ("user.signed_up.v1", {"user_id": 7}, "user_id: must be a string"),
        ("user.signed_up.v1", {"email": "ada"}, "email: must be an email address"),
        ("user.signed_up.v1", {"email": "ada@localhost"}, "email: must be an email address"),
        ("user.signed_up.v1", {"email": "a@b.co, c@d.co"}, "email: must be an email address"),
        (
            "user.signed_up.v1",
            {"email": "a" * 60 + "@" + "b" * 50 + ".org"},
            "email: must have at most 100 characters",
        ),
        ("user.signed_up.v1", {"full_name": "Ada\x00"}, "full_name: must be one line, not empty"),
        ("user.signed_up.v1", {"full_name": "  "}, "full_name: must be one line, not empty"),
        ("user.signed_up.v1", {"occurred_at": "2026-01-31T10:00:00"}, "must carry a time zone"),
        ("user.signed_up.v1", {"occurred_at": "yesterday"}, "must be a date or time in ISO 8601"),
        ("user.updated.v1", {"email": None}, "email cannot be emptied"),
        ("payment.record_requested.v1", {"amount": 0}, "amount: must be more than 0"),
        ("payment.record_requested.v1", {"amount": "-1"}, "amount: must be more than 0"),
        (
            "payment.record_requested.v1",
            {"amount": "NaN"},
            "amount: must be a plain decimal number",
        ),
        ("payment.record_requested.v1", {"amount": True}, "amount: must be a decimal number"),
        ("payment.record_requested.v1", {"amount": "1.2345"}, "at most 3 digits after the point"),
        ("payment.record_requested.v1", {"currency": "eur"}, "currency: must be a currency code"),
        ("payment.record_requested.v1", {"mode": "autotransaction"}, "mode: must be one of"),
        ("payment.record_requested.v1", {"date": "31.01.2026"}, "date: must be a date or time"),
        ("invoice.create_requested.v1", {"lines": []}, "lines: must have at least 1 entries"),
        (
            "invoice.create_requested.v1",
            {"lines": [{"description": "x", "quantity": 0, "rate": 1}]},
            "lines[0].quantity: must be more than 0",
        ),
        ("report.revenue_requested.v1", {"end_date": "2025-12-31"}, "must not be before"),
        ("report.revenue_requested.v1", {"start_date": "2010-01-01"}, "not be longer than"),
        ("support.escalated.v1", {"subject": "s" * 1001}, "subject: must have at most 1000"),
        ("support.escalated.v1", {"transcript": [{"role": "user"}]}, "transcript[0].text: is requ"),
    ],
)
def test_a_field_that_breaks_a_rule_is_named_with_the_rule(key, fields, reason):
    error = refusal(key, {**samples.COMMANDS[key], **fields})

    assert reason in error.reason


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"user_id": NaN', b"[" * 5000])
def test_what_is_not_json_is_refused(body):
    assert refusal("user.signed_up.v1", body).reason == "body: is not JSON"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
def test_what_is_not_an_object_is_refused(body):
    assert refusal("user.signed_up.v1", body).reason == "body: is not a JSON object"


def test_a_body_beyond_the_limit_is_refused_unread():
    assert refusal("user.signed_up.v1", b" " * (MAX_BODY_BYTES + 1)).code == "too_large"


def test_an_unknown_routing_key_is_an_unknown_command():
    assert refusal("user.singed_up.v1", {}).code == "unknown_command"


# A sign that no text of ours has: what hypothesis makes up may else be a word of a rule.
@given(st.text(max_size=60).map("§{}".format))
def test_a_reason_never_quotes_what_was_sent(secret):
    values = dict.fromkeys(samples.RECORDED, secret) | {f"{secret}@": secret}

    reason = refusal("payment.record_requested.v1", values).reason

    assert "§" not in reason


def test_money_is_exact_as_a_string_and_as_a_number():
    key = "payment.record_requested.v1"
    body = json.dumps(samples.RECORDED)

    assert parsed(key, amount="0.10").amount == Decimal("0.10")
    assert parsed(key, amount=19.99).amount == Decimal("19.99")
    # Rounded to a double, this would be accepted as 0.1.
    error = refusal(key, body.replace('"19.90"', "0.1000000000000000055").encode())
    assert "amount: must have at most" in error.reason


@pytest.mark.parametrize(
    "amount", ["1_0", " 10", "10 ", "10\n", "١٠", "１０", "1e2", "+5", ".5", "5."]
)
def test_an_amount_is_written_in_plain_digits(amount):
    plainly = "must be a plain decimal number"
    line = {"description": "Help", "quantity": amount, "rate": amount}

    recorded = refusal("payment.record_requested.v1", {**samples.RECORDED, "amount": amount})
    invoiced = refusal(
        "invoice.create_requested.v1", {"user_id": "u1", "invoice_id": "i1", "lines": [line]}
    )

    assert f"amount: {plainly}" in recorded.reason
    assert f"lines[0].quantity: {plainly}" in invoiced.reason
    assert f"lines[0].rate: {plainly}" in invoiced.reason


@pytest.mark.parametrize(("amount", "fits"), [("19.90", True), (19.9, True), ("1_0", False)])
def test_the_published_schema_describes_how_amounts_are_written(amount, fits):
    schema = Draft202012Validator(schema_of_command(PaymentRecordRequested))

    assert schema.is_valid({**samples.RECORDED, "amount": amount}) is fits


@pytest.mark.parametrize(
    ("currency", "good", "too_fine"),
    [
        ("USD", ["19", "19.9", "19.90", 19, 19.9, 19.0], ["19.900", 19.905]),
        ("JPY", ["100", 100, 100.0], ["100.0", 100.5]),
        ("KWD", ["1.125", 1.125], ["1.1250"]),
    ],
)
def test_an_amount_has_no_more_decimals_than_its_currency(currency, good, too_fine):
    key = "payment.record_requested.v1"

    for amount in good:
        accepted = parsed(key, amount=amount, currency=currency).amount
        assert accepted == Decimal(str(amount))
    for amount in too_fine:
        error = refusal(key, {**samples.RECORDED, "amount": amount, "currency": currency})
        assert "amount must have at most" in error.reason
        assert "digits after the point in its currency" in error.reason


@pytest.mark.parametrize(
    ("amount", "currency", "published"),
    [
        ("19", "USD", "19.00"),
        ("19.0", "EUR", "19.00"),
        ("-1E+2", "USD", "-100.00"),
        ("1E+2", "JPY", "100"),
        ("2.5", "KWD", "2.500"),
        ("0", "USD", "0.00"),
        ("0.0050", "USD", "0.005"),
        ("7", None, "7.00"),
    ],
)
def test_money_has_its_currencys_decimals_and_is_never_rounded(amount, currency, published):
    assert str(as_money(Decimal(amount), currency)) == published


def test_money_goes_out_as_a_string():
    command = PaymentRecordRequested.model_validate(samples.RECORDED)

    assert json.loads(command.model_dump_json())["amount"] == "19.90"


def test_an_update_lists_the_fields_given_and_those_to_empty():
    update = parse_command("user.updated.v1", b'{"user_id": "u1", "phone": null, "last_name": "B"}')

    assert isinstance(update, UserUpdated)
    assert update.changes() == {"last_name": "B", "phone": None}


@pytest.mark.parametrize(
    ("key", "references"),
    [
        (
            "user.signed_up.v1",
            References(user_id="u1", introduced=(("user", "u1"),), email="ada@example.org"),
        ),
        ("user.updated.v1", References(user_id="u1")),
        (
            "subscription.requested.v1",
            References(user_id="u1", introduced=(("subscription", "s1"),)),
        ),
        ("subscription.cancel_requested.v1", References(mentioned=(("subscription", "s1"),))),
        ("payment.record_requested.v1", References(user_id="u1", introduced=(("payment", "p1"),))),
        ("payment.refund_requested.v1", References(mentioned=(("payment", "p1"),))),
        ("payment.collect_requested.v1", References(mentioned=(("invoice", "i1"),))),
        ("invoice.create_requested.v1", References(user_id="u1", introduced=(("invoice", "i1"),))),
        ("report.summary_requested.v1", References()),
        (
            "support.escalated.v1",
            References(introduced=(("escalation", "e1"),), email="ada@example.org"),
        ),
        ("support.close_requested.v1", References(mentioned=(("escalation", "e1"),))),
    ],
)
def test_a_command_names_what_it_refers_to(key, references):
    assert parsed(key).references() == references


def test_a_subscription_that_carries_the_email_introduces_its_user_too():
    references = parsed("subscription.requested.v1", email="ada@example.org").references()

    assert references.introduced == (("user", "u1"), ("subscription", "s1"))
