"""List the products that the relay speaks to. Each is described in one package.

A new product needs, with `<p>` for its name:

- `shared/zoho/products/<p>/profile.py`: addresses, envelope, limits, scopes, probe. And its line
  below.
- `shared/zoho/products/<p>/known_answers.py`: what its error codes mean.
- `shared/zoho/products/<p>/settings.py`: its variables, and their lines in `.env.example`.
- `shared/zoho/products/<p>/client.py` and `models.py`: its operations.

That is enough to call it. A worker for it, its webhooks, its part of the sandbox and of the doctor
are further files: `docs/decisions/0050-product-profiles.md` lists them.
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
