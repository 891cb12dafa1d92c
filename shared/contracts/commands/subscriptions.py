"""Define the commands that start, change, cancel and reactivate subscriptions."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.contracts.commands.command import Command, EntityIds, References
from shared.contracts.fields import Code, Day, Email, FullName, Id, Quantity


class ChosenAddon(BaseModel):
    """An add-on of Billing's, by its code, and how often."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    addon_code: Code
    quantity: Quantity = 1


def _each_once(addons: tuple[ChosenAddon, ...]) -> tuple[ChosenAddon, ...]:
    if len({addon.addon_code for addon in addons}) < len(addons):
        raise ValueError("an add-on is listed twice: give its quantity instead")
    return addons


ChosenAddons = Annotated[tuple[ChosenAddon, ...], Field(max_length=100), AfterValidator(_each_once)]


class SubscriptionRequested(Command):
    """Subscribe the user to a plan. `subscription.requested.v1`.

    With `email` it needs no sign-up before it. `trial_days` 0 starts without a trial. Without
    `trial_days` the plan's own trial holds. `use_stored_card` charges the customer's card at each
    renewal. One-time add-ons are in the first invoice only.
    """

    routing_key: ClassVar[str] = "subscription.requested.v1"

    user_id: Id
    subscription_id: Id
    plan_code: Code
    quantity: Quantity | None = None
    addons: ChosenAddons = ()
    trial_days: Annotated[int, Field(ge=0, le=3_650)] | None = None
    coupon_code: Code | None = None
    starts_at: Day | None = None
    use_stored_card: bool = False
    email: Email | None = None
    full_name: FullName | None = None

    def references(self) -> References:
        introduced: EntityIds = (("subscription", self.subscription_id),)
        if self.email is not None:
            introduced = (("user", self.user_id), *introduced)
        return References(user_id=self.user_id, introduced=introduced, email=self.email)


class _SubscriptionCommand(Command):
    subscription_id: Id

    def references(self) -> References:
        return References(mentioned=(("subscription", self.subscription_id),))


class SubscriptionChangeRequested(_SubscriptionCommand):
    """Change plan, quantity or add-ons, now or at the next term.

    `subscription.change_requested.v1`. Without `quantity` or `addons` they stay as they are. With
    `addons`, exactly these recurring add-ons are left.
    """

    routing_key: ClassVar[str] = "subscription.change_requested.v1"

    plan_code: Code
    quantity: Quantity | None = None
    addons: ChosenAddons | None = None
    at_term_end: bool = False


class SubscriptionCancelRequested(_SubscriptionCommand):
    """Stop renewing, when the paid term ends or at once. `subscription.cancel_requested.v1`."""

    routing_key: ClassVar[str] = "subscription.cancel_requested.v1"

    at_term_end: bool = True


class SubscriptionReactivateRequested(_SubscriptionCommand):
    """Renew again a subscription that was to end. `subscription.reactivate_requested.v1`."""

    routing_key: ClassVar[str] = "subscription.reactivate_requested.v1"
