"""Define what the doctor checks of a product at Zoho."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

from services.operator.doctor.servers import DoctorSettings
from services.operator.doctor.zoho import ZohoChecks

ORGANIZATIONS: Final = "organizations"
CUSTOM_FIELDS: Final = "custom fields"
WEBHOOKS: Final = "webhooks"
# Each field is optional.
WITHOUT_FIELD: Final = (
    "not set: the id is written into a text field instead, and found by searching"
)


class ProductChecks(ABC):
    """The checks of a product, or of products that share their settings.

    `to_switch_off`: what a person has to check at Zoho, and where, because no call shows whether
    customers see its pages.
    """

    to_switch_off: ClassVar[tuple[tuple[str, str], ...]] = ()

    def __init__(self, checks: ZohoChecks, settings: DoctorSettings) -> None:
        self._checks = checks
        self._findings = checks.findings
        self._zoho = checks.zoho
        self._settings = settings

    @abstractmethod
    async def check_organization(self) -> None: ...

    @abstractmethod
    async def check_custom_fields(self) -> None: ...

    @abstractmethod
    async def check_webhooks(self) -> None: ...

    def _field_is_absent(self, variable: str, name: str, where: str) -> None:
        todo = f"{where}: make it, or set {variable} to its API name."
        self._findings.wrong(CUSTOM_FIELDS, variable, f"Zoho has no field {name}", todo)
