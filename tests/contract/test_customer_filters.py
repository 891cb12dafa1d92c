"""Customers are found by email also where Zoho ignores the filter, and never by the whole list."""

import pytest

from tests.contract.conftest import Clients

ADA = "ada@example.com"


async def lists(clients: Clients) -> int:
    return len(await clients.sandbox.requests(product="billing", operation="list_customers"))


async def fill(clients: Clients, *ignored: str) -> None:
    """450 customers, which are three pages. Ada is the newest, and so on the first page."""
    emails = [*(f"c{number}@example.com" for number in range(449)), ADA]
    customers = [
        {"customer_id": f"4600000000001{number:05}", "display_name": email, "email": email}
        for number, email in enumerate(emails)
    ]
    await clients.sandbox.load({"billing": {"customers": customers}})
    await clients.sandbox.set_behaviour(ignored_filters={"billing": list(ignored)})


async def test_the_first_filter_that_works_is_used_from_then_on(clients: Clients) -> None:
    await fill(clients, "email")

    found = [await clients.billing.customers_with_email(ADA) for _ in range(3)]

    assert [len(customers) for customers in found] == [1, 1, 1]
    assert await lists(clients) == 1 + 3


@pytest.mark.parametrize(("email", "number"), [(ADA, 1), ("nobody@example.com", 0)])
async def test_without_any_filter_one_page_is_read(
    clients: Clients, email: str, number: int
) -> None:
    await fill(clients, "email", "email_contains")
    await clients.billing.customers_with_email(email)
    before = await lists(clients)

    customers = await clients.billing.customers_with_email(email)

    assert len(customers) == number
    assert await lists(clients) - before == 1


async def test_what_a_lost_answer_may_have_made_is_looked_for_in_every_page(
    clients: Clients,
) -> None:
    await fill(clients, "email", "email_contains")
    await clients.billing.create_customer(user_id="u1", display_name="Z", email="z@example.com")

    customer = await clients.billing.customer_of_user("u1", email="z@example.com")

    assert customer is not None
