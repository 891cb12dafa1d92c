"""Check the set-up at Zoho: organizations, department, custom fields, quotas."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from services.operator.access.zoho import QuotaSeen
from services.operator.console.advice import advice_for
from services.operator.doctor.findings import Findings
from services.operator.doctor.servers import DoctorSettings
from shared.errors import IntegrationError, Misconfigured, RateLimited, ZohoRejected
from shared.zoho.products.books.time_zones import zone_of
from shared.zoho.products.profiles import PROFILES
from shared.zoho.products.scopes import missing
from shared.zoho.products.setup import ZohoSetup

_T = TypeVar("_T")


class ZohoChecks:
    """Ask Zoho, and turn refusals into findings.

    `granted`: the scopes of the token, empty when they are not known.
    """

    def __init__(self, findings: Findings, zoho: ZohoSetup, granted: Sequence[str]) -> None:
        self._findings = findings
        self._zoho = zoho
        self._granted = granted

    async def ask(self, product: str, area: str, check: str, call: Awaitable[_T]) -> _T | None:
        """Return the answer. None when there is none, and then a finding gives the reason."""
        try:
            return await call
        except RateLimited as error:
            found = f"the quota is used up ({error.limit}); ask again in {error.retry_after_s:.0f}s"
            self._findings.not_checked(area, check, found)
        except Misconfigured as error:
            if error.product == "accounts":
                self._findings.not_checked(area, check, "no access token: see credentials")
            else:
                self._findings.wrong(area, check, *self._of_cause(product, error.cause))
        except ZohoRejected as error:
            found = f"Zoho refuses to show it ({error.status} {error.zoho_code})".replace(" )", ")")
            self._findings.not_checked(area, check, found, "Check it at Zoho.")
        except IntegrationError as error:
            found = f"{product} gave no usable answer ({error.code})"
            self._findings.wrong(
                area, check, found, "Is the network up, and status.zoho.com quiet?"
            )
        return None

    def _of_cause(self, product: str, cause: str) -> tuple[str, str]:
        if cause != "scope" or not self._granted:
            return advice_for(cause)
        if gone := missing(PROFILES[product].scopes, self._granted):
            return f"a scope is missing: one of {', '.join(gone)}", "See scopes, above."
        # The finance products answer a missing scope and a foreign organization alike.
        return advice_for("organization")

    async def organizations(self, settings: DoctorSettings) -> None:
        area = "organizations"
        if settings.finance is None:
            self._findings.not_checked(area, "Billing, Books", "ZOHO_ORGANIZATION_ID is not set")
        else:
            await self._billing(settings.finance.zoho_free_plan_codes)
            plan = settings.zoho.zoho_books_plan if settings.zoho else None
            await self._books(settings.finance.books_organization_id, plan)
        await self._crm(settings)
        await self._desk(settings)

    async def _billing(self, free_plans: Sequence[str]) -> None:
        area, check = "organizations", "Billing"
        codes = await self.ask("billing", area, check, self._zoho.plan_codes())
        if codes is None:
            return
        self._findings.ok(area, check, f"answers, with {len(codes)} plans")
        if unknown := [code for code in free_plans if code not in codes]:
            self._findings.wrong(
                area,
                "ZOHO_FREE_PLAN_CODES",
                f"Billing has no plan {', '.join(unknown)}",
                "Correct the code: until then, users of the free plan are Paid Tier.",
            )

    async def _books(self, organization_id: str, configured: str | None) -> None:
        area, check = "organizations", "Books"
        rows = await self.ask("books", area, check, self._zoho.books_organizations())
        if rows is None:
            return
        mine = [row for row in rows if str(row.get("organization_id")) == organization_id]
        if not mine:
            found = f"ZOHO_…ORGANIZATION_ID is none of the {len(rows)} that this user belongs to"
            self._findings.wrong(area, check, found, advice_for("organization")[1])
            return
        plan = str(mine[0].get("plan_name") or "").lower()
        self._findings.ok(area, check, f"answers, plan {plan}" if plan else "answers")
        self._compare("books", "ZOHO_BOOKS_PLAN", configured, plan)
        self._time_zone(str(mine[0].get("time_zone") or ""))

    def _time_zone(self, name: str) -> None:
        if zone_of(name) is None:
            self._findings.wrong(
                "organizations",
                "Books' time zone",
                f"{name!r} is an unknown time zone: reports take UTC's day as today",
                "Choose another time zone in Books, under Settings, Organization Profile.",
            )

    async def _crm(self, settings: DoctorSettings) -> None:
        area, check = "organizations", "CRM"
        edition = await self.ask("crm", area, check, self._zoho.crm_edition())
        if edition is None:
            return
        self._findings.ok(area, check, f"answers, edition {edition}" if edition else "answers")
        configured = settings.zoho.zoho_crm_edition if settings.zoho else None
        self._compare("crm", "ZOHO_CRM_EDITION", configured, edition)

    def _compare(self, product: str, variable: str, configured: str | None, plan: str) -> None:
        """Compare the limits behind both names, because two names may stand for the same limits.

        A plan that we do not know is not compared.
        """
        plans = PROFILES[product].quota.plans
        if configured and plan in plans and plans[plan] != plans[configured]:
            self._findings.wrong(
                "organizations",
                variable,
                f"is {configured}, but {_name(product)} reports {plan}",
                "Correct it: quotas are counted by it.",
            )

    async def _desk(self, settings: DoctorSettings) -> None:
        area, check = "organizations", "Desk"
        if settings.desk is None:
            self._findings.not_checked(area, check, "ZOHO_DESK_… is not set")
            return
        rows = await self.ask("desk", area, check, self._zoho.desk_organizations())
        if rows is not None and not any(
            str(row.get("id")) == settings.desk.zoho_desk_org_id for row in rows
        ):
            found = f"ZOHO_DESK_ORG_ID is none of the {len(rows)} that this user belongs to"
            self._findings.wrong(area, check, found, advice_for("organization")[1])
            rows = None
        if rows is not None:
            self._findings.ok(area, check, "answers")
        await self._department(settings.desk.zoho_desk_department_id)

    async def _department(self, department_id: str) -> None:
        area, check = "organizations", "Desk's department"
        todo = "Set ZOHO_DESK_DEPARTMENT_ID to one of Desk, Setup, Departments."
        try:
            department = await self.ask(
                "desk", area, check, _found(self._zoho.desk_department(department_id))
            )
        except LookupError:
            self._findings.wrong(area, check, "there is none of this id", todo)
            return
        if department is not None and department.get("isEnabled") is False:
            self._findings.wrong(area, check, "it is disabled", todo)
        elif department is not None:
            self._findings.ok(area, check, "is there")


async def _found(call: Awaitable[_T]) -> _T:
    """Raises LookupError when Zoho knows no such thing."""
    try:
        return await call
    except ZohoRejected as error:
        if error.status == 404:
            raise LookupError from error
        raise


def _name(product: str) -> str:
    return {"crm": "CRM"}.get(product, product.capitalize())


def _plan_variables(product: str) -> str:
    quota = PROFILES[product].quota
    names = (quota.plan_setting, quota.users_setting)
    return " and ".join(name.upper() for name in names if name)


def show_quotas(findings: Findings, seen: QuotaSeen) -> None:
    """Report the quota left after the last call of each product."""
    for product in PROFILES:
        left = [
            f"{count} {unit}"
            for count, unit in (
                (seen.calls_left.get(product), "calls of this minute"),
                (seen.credits_left.get(product), "of today"),
            )
            if count is not None
        ]
        name = _name(product)
        if seen.credits_left.get(product) == 0:
            findings.wrong(
                "quotas",
                name,
                "today's calls are used up",
                "Work waits for the reset. Find out who else uses this organization's calls.",
            )
        elif left:
            findings.ok("quotas", name, " and ".join(left) + " left")
        else:
            findings.not_checked(
                "quotas",
                name,
                "neither Zoho nor a configured plan shows how much is left",
                f"Set {_plan_variables(product)}.",
            )
