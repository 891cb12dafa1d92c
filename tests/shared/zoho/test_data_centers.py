"""Test the hosts of the ten data centres, none of which is derived from another."""

import pytest

from shared.settings import ZohoEndpoints
from shared.zoho.call.endpoints import DATA_CENTERS, Endpoints
from shared.zoho.products.billing.settings import BillingAccess
from shared.zoho.products.books.settings import BooksAccess
from shared.zoho.products.crm.settings import CrmAccess
from shared.zoho.products.desk.settings import DeskAccess
from shared.zoho.products.profiles import PROFILES


class Settings(ZohoEndpoints, BillingAccess, BooksAccess, CrmAccess, DeskAccess):
    """The settings of addresses, as the operator reads them."""


@pytest.mark.parametrize(
    ("name", "accounts", "billing", "desk"),
    [
        ("us", "accounts.zoho.com", "www.zohoapis.com", "desk.zoho.com"),
        ("eu", "accounts.zoho.eu", "www.zohoapis.eu", "desk.zoho.eu"),
        ("in", "accounts.zoho.in", "www.zohoapis.in", "desk.zoho.in"),
        ("au", "accounts.zoho.com.au", "www.zohoapis.com.au", "desk.zoho.com.au"),
        ("jp", "accounts.zoho.jp", "www.zohoapis.jp", "desk.zoho.jp"),
        ("ca", "accounts.zohocloud.ca", "www.zohoapis.ca", "desk.zohocloud.ca"),
        ("sa", "accounts.zoho.sa", "www.zohoapis.sa", "desk.zoho.sa"),
        ("cn", "accounts.zoho.com.cn", "www.zohoapis.com.cn", "desk.zoho.com.cn"),
        ("uk", "accounts.zoho.uk", "www.zohoapis.uk", "desk.zoho.uk"),
        ("ae", "accounts.zoho.ae", "www.zohoapis.ae", "desk.zoho.ae"),
    ],
)
def test_every_data_centre_has_its_hosts(name: str, accounts: str, billing: str, desk: str) -> None:
    endpoints = Endpoints(PROFILES, name)
    assert endpoints.accounts() == f"https://{accounts}"
    assert endpoints.url("billing", "/plans") == f"https://{billing}/billing/v1/plans"
    assert endpoints.url("books", "/invoices") == f"https://{billing}/books/v3/invoices"
    assert endpoints.url("crm", "/Contacts") == f"https://{billing}/crm/v8/Contacts"
    assert endpoints.url("desk", "/tickets") == f"https://{desk}/api/v1/tickets"


def test_there_are_ten() -> None:
    assert len(DATA_CENTERS) == 10


def test_the_tokens_domain_wins_except_for_desk() -> None:
    endpoints = Endpoints(PROFILES)
    eu = "https://www.zohoapis.eu"
    assert endpoints.url("crm", "/x", api_domain=eu) == "https://www.zohoapis.eu/crm/v8/x"
    assert endpoints.url("desk", "/x", api_domain=eu) == "https://desk.zoho.com/api/v1/x"


@pytest.mark.parametrize("kind", ["sandbox", "developer"])
@pytest.mark.parametrize("data_center", DATA_CENTERS)
def test_crm_goes_to_the_host_of_a_sandbox_or_developer_organization(
    data_center: str, kind: str
) -> None:
    domain = f"https://{DATA_CENTERS[data_center].api.replace('www', kind, 1)}"
    endpoints = Endpoints(PROFILES)

    assert endpoints.url("crm", "/x", api_domain=domain) == f"{domain}/crm/v8/x"
    for product in ("billing", "books"):
        assert endpoints.url(product, "/x", api_domain=domain).startswith(
            "https://www.zohoapis.com/"
        )


def test_a_domain_that_is_not_zohos_gets_no_token() -> None:
    elsewhere = "https://www.zohoapis.com.evil.invalid"
    url = Endpoints(PROFILES).url("billing", "/x", api_domain=elsewhere)
    assert url == "https://www.zohoapis.com/billing/v1/x"


def test_a_prefix_of_the_settings_wins_over_everything() -> None:
    settings = Settings(
        zoho_crm_url="http://127.0.0.1:1/crm/", zoho_crm_version="v2", zoho_accounts_url="http://a"
    )
    endpoints = Endpoints.of(settings, PROFILES, {"books": "7"})
    domain = "https://www.zohoapis.eu"
    assert endpoints.url("crm", "/x", api_domain=domain) == "http://127.0.0.1:1/crm/v2/x"
    assert endpoints.accounts() == "http://a"
    assert endpoints.params("books") == {"organization_id": "7"}
