import hypothesis.strategies as st
from hypothesis import given

from shared.crypto.blind_index import BlindIndex, normalized_email
from shared.crypto.keyring import KeyRing
from tests.kit.fresh_keys import fresh_key

OLD, NEW = fresh_key("old"), fresh_key("new")
emails = BlindIndex(KeyRing.parse(NEW), "billing.users")


def test_an_email_is_found_however_it_is_written() -> None:
    written = ["Ann.Smith@Example.com", " ann.smith@example.COM ", "ａnn.smith@example.com"]

    assert len({emails.of("default", "email", email)[0].index for email in written}) == 1


def test_only_emails_are_folded() -> None:
    assert emails.of("default", "zoho_id", "a") != emails.of("default", "zoho_id", "A")


def test_org_kind_and_purpose_each_make_another_index() -> None:
    other = BlindIndex(KeyRing.parse(NEW), "crm.contacts")

    indexes = [
        emails.of("default", "email", "x"),
        emails.of("other", "email", "x"),
        emails.of("default", "zoho_id", "x"),
        emails.of("defaultemail", "", "x"),
        other.of("default", "email", "x"),
    ]

    assert len({entries[0].index for entries in indexes}) == len(indexes)


def test_while_keys_rotate_both_are_looked_for_and_the_new_one_is_written() -> None:
    before = BlindIndex(KeyRing.parse(OLD), "billing.users").of("default", "email", "a@b.c")

    rotating = BlindIndex(KeyRing.parse(f"{NEW},{OLD}"), "billing.users")
    during = rotating.of("default", "email", "a@b.c")

    assert [entry.key_id for entry in during] == ["new", "old"]
    assert before[0] in during


def test_a_body_is_recognised_under_any_key_in_use() -> None:
    before = BlindIndex(KeyRing.parse(OLD), "inbox")
    rotating = BlindIndex(KeyRing.parse(f"{NEW},{OLD}"), "inbox")

    assert before.mac("body", b"{}") in rotating.macs("body", b"{}")
    assert rotating.mac("body", b"{}") == rotating.macs("body", b"{}")[0]
    assert before.mac("body", b"{ }") not in rotating.macs("body", b"{}")
    assert before.mac("other", b"{}") not in rotating.macs("body", b"{}")


@given(st.text())
def test_normalizing_twice_changes_nothing(email: str) -> None:
    assert normalized_email(normalized_email(email)) == normalized_email(email)
