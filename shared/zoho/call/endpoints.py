"""Map data centres to Zoho's hosts, and say how each product wants the organization named.

Sources: finance reference §1.1 and §2.1. CRM and Desk reference §1.1 and §2.1. Rows differ in more
than their ending (Canada), so nothing is derived from anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from shared.settings import ZohoEndpoints


@dataclass(frozen=True)
class DataCenter:
    """Hosts of one data centre, and the zone in which its days begin (for daily limits).

    Zones are where the centre is. Zoho says "the data centre's zone" without naming it: unverified.
    """

    accounts: str
    api: str
    crm_upload: str
    desk: str
    zone: str


DATA_CENTERS: Mapping[str, DataCenter] = {
    "us": DataCenter(
        "accounts.zoho.com",
        "www.zohoapis.com",
        "content.zohoapis.com",
        "desk.zoho.com",
        "America/Los_Angeles",
    ),
    "eu": DataCenter(
        "accounts.zoho.eu",
        "www.zohoapis.eu",
        "content.zohoapis.eu",
        "desk.zoho.eu",
        "Europe/Amsterdam",
    ),
    "in": DataCenter(
        "accounts.zoho.in",
        "www.zohoapis.in",
        "content.zohoapis.in",
        "desk.zoho.in",
        "Asia/Kolkata",
    ),
    "au": DataCenter(
        "accounts.zoho.com.au",
        "www.zohoapis.com.au",
        "content.zohoapis.com.au",
        "desk.zoho.com.au",
        "Australia/Sydney",
    ),
    "jp": DataCenter(
        "accounts.zoho.jp",
        "www.zohoapis.jp",
        "content.zohoapis.jp",
        "desk.zoho.jp",
        "Asia/Tokyo",
    ),
    "ca": DataCenter(
        "accounts.zohocloud.ca",
        "www.zohoapis.ca",
        "upload.zohocloud.ca",
        "desk.zohocloud.ca",
        "America/Toronto",
    ),
    "sa": DataCenter(
        "accounts.zoho.sa",
        "www.zohoapis.sa",
        "files.zoho.sa",
        "desk.zoho.sa",
        "Asia/Riyadh",
    ),
    "cn": DataCenter(
        "accounts.zoho.com.cn",
        "www.zohoapis.com.cn",
        "content.zohoapis.com.cn",
        "desk.zoho.com.cn",
        "Asia/Shanghai",
    ),
    # The upload hosts of these two are in no source we saw. Desk's of the UK neither. Unverified.
    "uk": DataCenter(
        "accounts.zoho.uk",
        "www.zohoapis.uk",
        "content.zohoapis.uk",
        "desk.zoho.uk",
        "Europe/London",
    ),
    "ae": DataCenter(
        "accounts.zoho.ae",
        "www.zohoapis.ae",
        "content.zohoapis.ae",
        "desk.zoho.ae",
        "Asia/Dubai",
    ),
}

# CRM's sandbox and developer organizations have hosts of their own in every data centre, and their
# tokens name one (crm 1.1). The other products are not served there.
_CRM_TEST_HOSTS = frozenset(
    center.api.replace("www.", f"{kind}.", 1)
    for center in DATA_CENTERS.values()
    for kind in ("sandbox", "developer")
)

_PREFIXES = {"billing": "/billing/v1", "books": "/books/v3", "crm": "/crm"}


@dataclass(frozen=True)
class Endpoints:
    """The addresses of all products, for one organization.

    `overrides`: full prefixes that win over the data centre's (`billing`, `books`, `crm` without
    its version, `crm_upload`, `desk`, `accounts`). `organization_ids` by product. CRM has none: its
    token names the organization. An id that is missing is not sent.
    """

    data_center: str = "us"
    crm_version: str = "v8"
    overrides: Mapping[str, str] = field(default_factory=dict)
    organization_ids: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, settings: ZohoEndpoints, organization_ids: Mapping[str, str] | None = None
    ) -> Endpoints:
        """The endpoints that the environment says."""
        named = {
            "accounts": settings.zoho_accounts_url,
            "billing": settings.zoho_billing_url,
            "books": settings.zoho_books_url,
            "crm": settings.zoho_crm_url,
            "crm_upload": settings.zoho_crm_upload_url,
            "desk": settings.zoho_desk_url,
        }
        return cls(
            settings.zoho_data_center,
            settings.zoho_crm_version,
            {product: url for product, url in named.items() if url},
            organization_ids or {},
        )

    @property
    def zone(self) -> str:
        """The zone of the data centre, in which its days begin."""
        return DATA_CENTERS[self.data_center].zone

    def accounts(self) -> str:
        """The accounts server's prefix, without a trailing slash."""
        return self.overrides.get("accounts", "").rstrip("/") or (
            f"https://{DATA_CENTERS[self.data_center].accounts}"
        )

    def url(self, product: str, path: str, *, api_domain: str = "") -> str:
        """The URL of `path` in `product`, or where CRM takes bulk jobs: `crm_bulk`, `crm_upload`.

        `api_domain` comes with the token and names the right host whatever was configured, except
        for Desk, which it never serves, and except where a prefix is overridden.
        """
        return f"{self._prefix(product, api_domain)}{path}"

    def headers(self, product: str) -> dict[str, str]:
        """Return the headers that name the organization: Billing and Desk want one."""
        name = {
            "billing": "X-com-zoho-subscriptions-organizationid",
            "desk": "orgId",
        }.get(product)
        value = self.organization_ids.get(product)
        return {name: value} if name and value else {}

    def params(self, product: str) -> dict[str, str]:
        """Books wants it as a query parameter."""
        value = self.organization_ids.get(product)
        return {"organization_id": value} if product == "books" and value else {}

    def _prefix(self, product: str, api_domain: str) -> str:
        override = self.overrides.get(product, "").rstrip("/")
        hosts = DATA_CENTERS[self.data_center]
        match product:
            case "crm":
                return f"{self._crm(api_domain)}/{self.crm_version}"
            case "crm_bulk":
                return f"{self._crm(api_domain)}/bulk/{self.crm_version}"
            case "crm_upload":
                prefix = override or f"https://{hosts.crm_upload}/crm"
                return f"{prefix}/{self.crm_version}"
            case "desk":
                return override or f"https://{hosts.desk}/api/v1"
            case _:
                return override or f"{_api(api_domain, hosts)}{_PREFIXES[product]}"

    def _crm(self, api_domain: str) -> str:
        override = self.overrides.get("crm", "").rstrip("/")
        hosts = DATA_CENTERS[self.data_center]
        api = _api(api_domain, hosts, others=_CRM_TEST_HOSTS)
        return override or f"{api}{_PREFIXES['crm']}"


def _api(api_domain: str, hosts: DataCenter, *, others: frozenset[str] = frozenset()) -> str:
    # Only ever a host of Zoho's: the token goes wherever this says.
    host = urlsplit(api_domain).hostname or ""
    known = {center.api for center in DATA_CENTERS.values()} | others
    return f"https://{host if host in known else hosts.api}"
