"""Ask Zoho for the doctor, turn refusals into findings, and report the quotas."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TypeVar

from services.operator.access.zoho import QuotaSeen
from services.operator.console.advice import advice_for
from services.operator.doctor.findings import Findings
from shared.errors import IntegrationError, Misconfigured, RateLimited, ZohoRejected
from shared.zoho.products.profiles import PROFILES
from shared.zoho.products.scopes import missing
from shared.zoho.products.setup import ZohoSetup

_T = TypeVar("_T")


class ZohoChecks:
    """Ask Zoho, and turn refusals into findings.

    `granted`: the scopes of the token, empty when they are not known.
    """

    def __init__(self, findings: Findings, zoho: ZohoSetup, granted: Sequence[str]) -> None:
        self.findings = findings
        self.zoho = zoho
        self._granted = granted

    async def ask(self, product: str, area: str, check: str, call: Awaitable[_T]) -> _T | None:
        """Return the answer. None when there is none, and then a finding gives the reason."""
        try:
            return await call
        except RateLimited as error:
            found = f"the quota is used up ({error.limit}); ask again in {error.retry_after_s:.0f}s"
            self.findings.not_checked(area, check, found)
        except Misconfigured as error:
            if error.product == "accounts":
                self.findings.not_checked(area, check, "no access token: see credentials")
            else:
                self.findings.wrong(area, check, *self._of_cause(product, error.cause))
        except ZohoRejected as error:
            found = f"Zoho refuses to show it ({error.status} {error.zoho_code})".replace(" )", ")")
            self.findings.not_checked(area, check, found, "Check it at Zoho.")
        except IntegrationError as error:
            found = f"{product} gave no usable answer ({error.code})"
            self.findings.wrong(area, check, found, "Is the network up, and status.zoho.com quiet?")
        return None

    def _of_cause(self, product: str, cause: str) -> tuple[str, str]:
        if cause != "scope" or not self._granted:
            return advice_for(cause)
        if gone := missing(PROFILES[product].scopes, self._granted):
            return f"a scope is missing: one of {', '.join(gone)}", "See scopes, above."
        # The finance products answer a missing scope and a foreign organization alike.
        return advice_for("organization")

    def compare_plan(self, product: str, variable: str, configured: str | None, plan: str) -> None:
        """Compare the limits behind both names, because two names may stand for the same limits.

        A plan that we do not know is not compared.
        """
        plans = PROFILES[product].quota.plans
        if configured and plan in plans and plans[plan] != plans[configured]:
            self.findings.wrong(
                "organizations",
                variable,
                f"is {configured}, but {_name(product)} reports {plan}",
                "Correct it: quotas are counted by it.",
            )


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
