"""List the products that the relay speaks to. Each is described in one package.

`docs/decisions/0073-product-profiles.md` lists the files that a new product needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.zoho.call.profile import ProductProfile
from shared.zoho.products.billing.profile import BILLING
from shared.zoho.products.books.profile import BOOKS
from shared.zoho.products.crm.profile import CRM
from shared.zoho.products.desk.profile import DESK

PROFILES: Final[Mapping[str, ProductProfile]] = {
    profile.name: profile for profile in (BILLING, BOOKS, CRM, DESK)
}

ALL_SCOPES: Final = tuple(scope for profile in PROFILES.values() for scope in profile.scopes)
