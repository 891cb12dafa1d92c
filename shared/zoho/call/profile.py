"""Describe what differs between Zoho's products, for code that treats them all alike.

Products differ in data, not in code paths. Each has one profile, in its own package, and the
profiles are passed in (`shared.zoho.products.profiles` lists them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.zoho.call.known_answers import KnownAnswer
from shared.zoho.call.operation import Operation
from shared.zoho.call.responses import Envelope
from shared.zoho.quota.limits import ProductQuota

# An operation that is a cheap GET, and its path.
Probe = tuple[Operation, str]


@dataclass(frozen=True)
class Address:
    """The address of a product: host, then `root`, then `suffix`.

    `hosts` by data centre. Without them it is the host of Zoho's API, which comes with the token:
    one that begins with `www`, or with one of `other_host_kinds`.
    `setting`: the middle of the variable `ZOHO_<SETTING>_URL`, which replaces host and root.
    `{version}` in the suffix stands for the API's version.
    """

    setting: str
    root: str
    suffix: str = ""
    hosts: Mapping[str, str] | None = None
    other_host_kinds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ProductProfile:
    """All that generic code has to know of a product.

    `organization_header`, `organization_param`: where the organization's id goes. With neither, the
    token names the organization. `credits_left_headers` say what is left of the day's credits.
    `scopes` are asked for one by one: an organization need not give away more. `probe` is called
    first when a breaker's pause is over, so that no write has to find out.
    """

    name: str
    address: Address
    version: str = ""
    organization_header: str | None = None
    organization_param: str | None = None
    envelope: Envelope
    known_answers: tuple[KnownAnswer, ...]
    credits_left_headers: tuple[str, ...]
    quota: ProductQuota
    scopes: tuple[str, ...]
    probe: Probe
