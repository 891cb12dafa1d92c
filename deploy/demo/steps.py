"""Perform the steps that recur in the story, and narrate each as it comes true."""

from __future__ import annotations

from collections.abc import Callable

from deploy.demo.narrator import Narrator
from deploy.demo.people import Person
from deploy.driving.system_driver import SystemDriver
from services.zoho_sandbox.driver import Json, WaitTimeout


class Steps:
    """Each raises `WaitTimeout` when what it waits for does not come."""

    def __init__(self, stage: SystemDriver, narrator: Narrator) -> None:
        self._stage = stage
        self._narrator = narrator

    async def _publish(self, routing_key: str, body: Json, detail: str) -> None:
        await self._stage.publish(routing_key, body)
        self._narrator.published(routing_key, detail)

    async def _ask(self, routing_key: str, body: Json) -> Json:
        self._narrator.published(routing_key, ", ".join(f"{k} {v}" for k, v in body.items()))
        answer = await self._stage.ask(routing_key, body)
        if not answer.get("ok"):
            raise WaitTimeout(f"{routing_key} was answered with {answer.get('code')}")
        self._narrator.came_back("a reply", "ok")
        return dict(answer["result"])

    async def _subscribe(
        self, person: Person, subscription_id: str, plan_code: str, **more: int | bool
    ) -> None:
        body = {"user_id": person.user_id, "subscription_id": subscription_id}
        await self._publish(
            "subscription.requested.v1",
            {**body, "plan_code": plan_code, **more},
            f"{subscription_id}: {plan_code} for {person.name}",
        )

    async def _subscription(self, subscription_id: str, status: str) -> Json:
        subscription = await self._stage.zoho(
            "billing",
            "subscriptions",
            f"{status} subscription {subscription_id}",
            lambda s: s.get("reference_id") == subscription_id and s["status"] == status,
        )
        self._narrator.zoho_holds("Billing subscription", f"{subscription_id}: {status}")
        return subscription

    async def _changed(self, subscription_id: str, status: str, tier: str) -> None:
        await self._stage.event(
            "subscription.changed.v1", subscription_id=subscription_id, status=status, tier=tier
        )
        self._narrator.came_back("subscription.changed.v1", f"{subscription_id}: {status}, {tier}")

    async def _contact_with_tags(self, person: Person, tags: set[str]) -> None:
        await self._stage.zoho(
            "crm",
            "contacts",
            f"contact {person.user_id} with tags {', '.join(sorted(tags))}",
            lambda c: mail_of("Email", person)(c) and tags_of(c) == tags,
        )
        self._narrator.zoho_holds("CRM contact", f"{person.name}: {', '.join(sorted(tags))}")


def mail_of(field: str, person: Person) -> Callable[[Json], bool]:
    return lambda thing: str(thing.get(field, "")).lower() == person.email


def tags_of(contact: Json) -> set[str]:
    return {tag["name"] for tag in contact.get("Tag") or []}
