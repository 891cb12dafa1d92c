"""Check CRM at Zoho: the edition, the fields that carry our ids, channels of notifications."""

from __future__ import annotations

from datetime import UTC, datetime

from services.operator.doctor.products.product_checks import (
    CUSTOM_FIELDS,
    ORGANIZATIONS,
    WEBHOOKS,
    WITHOUT_FIELD,
    ProductChecks,
)
from shared.zoho.products.setup import ZohoRecord


class CrmChecks(ProductChecks):
    to_switch_off = (
        (
            "CRM's own mails",
            "CRM, Setup, Automation, Workflow Rules: none that mails contacts made by the API.",
        ),
    )

    async def check_organization(self) -> None:
        area, check = ORGANIZATIONS, "CRM"
        edition = await self._checks.ask("crm", area, check, self._zoho.crm_edition())
        if edition is None:
            return
        self._findings.ok(area, check, f"answers, edition {edition}" if edition else "answers")
        zoho = self._settings.zoho
        configured = zoho.zoho_crm_edition if zoho else None
        self._checks.compare_plan("crm", "ZOHO_CRM_EDITION", configured, edition)

    async def check_custom_fields(self) -> None:
        settings = self._settings.crm
        if settings is None:
            return
        user, tier = settings.zoho_crm_user_field, settings.zoho_crm_tier_field
        if not user and not tier:
            self._findings.ok(
                CUSTOM_FIELDS, "ZOHO_CRM_USER_FIELD, ZOHO_CRM_TIER_FIELD", WITHOUT_FIELD
            )
            return
        call = self._zoho.crm_contact_fields()
        fields = await self._checks.ask("crm", CUSTOM_FIELDS, "fields of CRM's contacts", call)
        if fields is None:
            return
        where = "CRM, Setup, Modules and Fields, Contacts"
        for variable, name in (("ZOHO_CRM_USER_FIELD", user), ("ZOHO_CRM_TIER_FIELD", tier)):
            if not name:
                self._findings.ok(CUSTOM_FIELDS, variable, WITHOUT_FIELD)
            elif name not in fields:
                self._field_is_absent(variable, name, where)
            elif name == user and not fields[name]:
                self._findings.wrong(
                    CUSTOM_FIELDS,
                    variable,
                    f"{name} is there, but not unique",
                    f"{where}: tick Do not allow duplicate values, or two contacts may be made.",
                )
            else:
                self._findings.ok(CUSTOM_FIELDS, variable, f"{name} is there")

    async def check_webhooks(self) -> None:
        check = "CRM's channels"
        channels = await self._checks.ask("crm", WEBHOOKS, check, self._zoho.crm_channels())
        if channels is None:
            return
        live = [channel for channel in channels if _watches_contacts(channel) and _is_live(channel)]
        if live:
            self._findings.ok(WEBHOOKS, check, f"{len(live)} for contacts")
            return
        self._findings.not_checked(
            WEBHOOKS,
            check,
            "none is live for contacts; workflow webhooks cannot be listed",
            "Without either, changes by staff arrive late. With GATEWAY_URL and"
            " ZOHO_CRM_CHANNEL_TOKEN, crm-worker opens a channel. Workflow: CRM, Setup, Automation,"
            " Webhooks: /webhooks/crm with the header X-Webhook-Secret.",
        )


def _watches_contacts(channel: ZohoRecord) -> bool:
    return any(str(event).startswith("Contacts.") for event in channel.get("events") or [])


def _is_live(channel: ZohoRecord) -> bool:
    try:
        expiry = datetime.fromisoformat(str(channel.get("channel_expiry")))
    except ValueError:
        return False
    return expiry.tzinfo is not None and expiry > datetime.now(UTC)
