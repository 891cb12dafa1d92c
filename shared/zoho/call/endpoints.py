"""Map data centres to Zoho's hosts, and build the URL, headers and parameters of a call.

Sources: docs/zoho/finance.md §1.1 and §2.1, crm.md §1.1, desk.md §2.1. Rows differ in more
than their ending (Canada), so nothing is derived from anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from shared.settings import ZohoEndpoints
from shared.zoho.call.profile import Address, ProductProfile


@dataclass(frozen=True)
class DataCenter:
    """Hosts of one data centre, and the zone in which its days begin (for daily limits).

    Products with hosts of their own have them in their profiles. Zones are where the centre is.
    Zoho says "the data centre's zone" without naming it: unverified.
    """

    accounts: str
    api: str
    zone: str


DATA_CENTERS: Mapping[str, DataCenter] = {
    "us": DataCenter("accounts.zoho.com", "www.zohoapis.com", "America/Los_Angeles"),
    "eu": DataCenter("accounts.zoho.eu", "www.zohoapis.eu", "Europe/Amsterdam"),
    "in": DataCenter("accounts.zoho.in", "www.zohoapis.in", "Asia/Kolkata"),
    "au": DataCenter("accounts.zoho.com.au", "www.zohoapis.com.au", "Australia/Sydney"),
    "jp": DataCenter("accounts.zoho.jp", "www.zohoapis.jp", "Asia/Tokyo"),
    "ca": DataCenter("accounts.zohocloud.ca", "www.zohoapis.ca", "America/Toronto"),
    "sa": DataCenter("accounts.zoho.sa", "www.zohoapis.sa", "Asia/Riyadh"),
    "cn": DataCenter("accounts.zoho.com.cn", "www.zohoapis.com.cn", "Asia/Shanghai"),
    "uk": DataCenter("accounts.zoho.uk", "www.zohoapis.uk", "Europe/London"),
    "ae": DataCenter("accounts.zoho.ae", "www.zohoapis.ae", "Asia/Dubai"),
}


@dataclass(frozen=True)
class Endpoints:
    """The addresses of products, for one organization.

    `products` by name. `overrides`: full prefixes that win over the data centre's, by the setting's
    name (`Address.setting`, `accounts`). `versions` by product, where it is not the profile's own.
    `organization_ids` by product. An id that is missing is not sent.
    """

    products: Mapping[str, ProductProfile]
    data_center: str = "us"
    overrides: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    organization_ids: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        settings: ZohoEndpoints,
        products: Mapping[str, ProductProfile],
        organization_ids: Mapping[str, str] | None = None,
    ) -> Self:
        """Return the endpoints that the environment names.

        `settings` have the fields of each product too: its `zoho_<setting>_url`, and its
        `zoho_<product>_version` where there are several.
        """
        names = ["accounts"]
        names += [profile.address.setting for profile in products.values()]
        urls = {name: getattr(settings, f"zoho_{name}_url") for name in names}
        return cls(
            products,
            settings.zoho_data_center,
            overrides={name: url for name, url in urls.items() if url},
            versions={
                name: getattr(settings, f"zoho_{name}_version")
                for name, profile in products.items()
                if profile.version
            },
            organization_ids=organization_ids or {},
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
        """Return the URL of `path` in `product`.

        `api_domain` comes with the token and names the right host whatever was configured, except
        for products with hosts of their own, and except where a prefix is overridden.
        """
        profile = self.products[product]
        address = profile.address
        prefix = self.overrides.get(address.setting, "").rstrip("/") or (
            f"https://{self._host(address, api_domain)}{address.root}"
        )
        version = self.versions.get(product, profile.version)
        return f"{prefix}{address.suffix.format(version=version)}{path}"

    def headers(self, product: str) -> dict[str, str]:
        """Return the header that names the organization, for products that want one."""
        name = self.products[product].organization_header
        value = self.organization_ids.get(product)
        return {name: value} if name and value else {}

    def params(self, product: str) -> dict[str, str]:
        """Return the query parameter that names it, for products that want one."""
        name = self.products[product].organization_param
        value = self.organization_ids.get(product)
        return {name: value} if name and value else {}

    def _host(self, address: Address, api_domain: str) -> str:
        if address.hosts is not None:
            return address.hosts[self.data_center]
        # Only ever a host of Zoho's: the token goes wherever this says.
        host = urlsplit(api_domain).hostname or ""
        known = {
            center.api.replace("www.", f"{kind}.", 1)
            for center in DATA_CENTERS.values()
            for kind in ("www", *address.other_host_kinds)
        }
        return host if host in known else DATA_CENTERS[self.data_center].api
