"""Test the sandbox's Desk as a client uses it: over HTTP, with a token and the portal's id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.zoho_sandbox.accounts import routes as accounts
from services.zoho_sandbox.desk import routes as product
from services.zoho_sandbox.server import admin
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings

Client = TestClient[web.Request, web.Application]


class Desk:
    """Calls Desk with a token. Paths are relative to `/desk/api/v1`."""

    def __init__(self, client: Client, world: World, token: str) -> None:
        self.client = client
        self.world = world
        self.headers = {
            "Authorization": f"Zoho-oauthtoken {token}",
            "orgId": world.settings.desk_org_id,
        }

    async def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        async with self.client.request(
            method, f"/desk/api/v1{path}", json=body, headers={**self.headers, **headers}
        ) as response:
            text = await response.read()
            return response.status, await response.json() if text else None

    def ticket_body(self, **more: Any) -> dict[str, Any]:
        return {
            "subject": "Help",
            "departmentId": self.world.settings.desk_department_id,
            "contact": {"lastName": "Lovelace", "email": "ada@example.com"},
            "description": "It does not work.",
            "cf": {"cf_app_escalation_id": "e1"},
            **more,
        }

    async def ticket(self, **more: Any) -> dict[str, Any]:
        status, body = await self.call("POST", "/tickets", self.ticket_body(**more))
        assert status == 200, body
        return dict(body)

    async def staff(self, ticket_id: str, action: str, body: Any = None) -> Any:
        url = f"/_sandbox/desk/tickets/{ticket_id}/{action}"
        async with self.client.post(url, json=body or {}) as response:
            assert response.status == 200, await response.text()
            return await response.json()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    world = World(SandboxSettings())
    app = web.Application()
    for part in (admin, accounts, product):
        part.add_routes(app, world)
    async with TestClient(TestServer(app)) as client:
        settings = world.settings
        form = {
            "grant_type": "refresh_token",
            "refresh_token": settings.refresh_token.get_secret_value(),
            "client_id": settings.client_id,
            "client_secret": settings.client_secret.get_secret_value(),
        }
        async with client.post("/accounts/oauth/v2/token", data=form) as response:
            token = (await response.json())["access_token"]
        yield Desk(client, world, token)
    await world.webhooks.close()


async def test_an_inline_contact_is_found_by_its_email_without_any_lag(desk: Desk) -> None:
    desk.world.lag_s["desk"] = 60

    first, second = await desk.ticket(), await desk.ticket()

    assert first["contactId"] == second["contactId"]
    assert first["id"] != second["id"]
    assert (await desk.call("GET", "/contacts/search?email=ada@example.com"))[0] == 204
    assert first["cf"] == {"cf_app_escalation_id": "e1"}
    assert "#Cases/dv/" in first["webUrl"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"subject": ""}, "/subject"),
        ({"subject": "x" * 1001}, "/subject"),
        ({"description": "x" * 65536}, "/description"),
        ({"priority": "Urgent"}, "/priority"),
        ({"departmentId": "1"}, "/departmentId"),
        ({"contact": {"lastName": "L"}}, "/contact/email"),
        ({"contact": {"lastName": "L", "email": "a..b@example.com"}}, "/contact/email"),
        ({"contact": {"lastName": "L", "email": "a.@example.com"}}, "/contact/email"),
        ({"contact": {"lastName": "L", "email": "a@ex_ample.com"}}, "/contact/email"),
        ({"cf": {"cf_unknown": "x"}}, "/cf/cf_unknown"),
    ],
)
async def test_a_field_off_its_rule_is_named(
    desk: Desk, change: dict[str, Any], pointer: str
) -> None:
    status, body = await desk.call("POST", "/tickets", desk.ticket_body(**change))

    assert (status, body["errorCode"]) == (422, "INVALID_DATA")
    assert [error["fieldName"] for error in body["errors"]] == [pointer]


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"contact": {"lastName": "L", "email": "l@example.com", "firstName": "F"}},
    ],
)
async def test_unknown_keys_and_parameters_are_refused(desk: Desk, change: dict[str, Any]) -> None:
    status, body = await desk.call("POST", "/tickets", desk.ticket_body(**change))
    asked, refused = await desk.call("GET", "/tickets/search?modified=1")

    assert (status, body["errorCode"]) == (422, "UNPROCESSABLE_ENTITY")
    assert (asked, refused["errorCode"]) == (422, "UNPROCESSABLE_ENTITY")


async def test_the_portal_has_to_be_named_and_to_be_ours(desk: Desk) -> None:
    for org_id in ("", "1"):
        status, body = await desk.call("GET", "/tickets/search", orgId=org_id)
        assert (status, body["errorCode"]) == (403, "OAUTH_ORG_MISMATCH")
    assert (await desk.call("GET", "/organizations", orgId=""))[0] == 200


async def test_search_counts_from_0_and_lists_from_1_and_nothing_is_204(desk: Desk) -> None:
    assert (await desk.call("GET", "/tickets/search?subject=Help"))[0] == 204
    for _ in range(3):
        await desk.ticket()

    _, searched = await desk.call("GET", "/tickets/search?from=0&limit=2&sortBy=createdTime")
    _, listed = await desk.call("GET", "/tickets?from=1&limit=2")
    below, _ = await desk.call("GET", "/tickets?from=0")
    beyond, _ = await desk.call("GET", "/tickets/search?from=5000")

    assert searched["count"] == 3
    assert [row["id"] for row in searched["data"]] == [row["id"] for row in listed["data"]]
    assert "modifiedTime" in searched["data"][0]
    assert "modifiedTime" not in listed["data"][0]
    assert (below, beyond) == (422, 422)


async def test_a_search_by_modified_time_sees_changes_after_the_lag(desk: Desk) -> None:
    ticket = await desk.ticket()
    assert (await desk.call("GET", f"/tickets/search?id={ticket['id']}"))[0] == 200
    desk.world.lag_s["desk"] = 60
    await desk.staff(ticket["id"], "close")
    window = "2020-01-01T00:00:00.000Z,2099-01-01T00:00:00.000Z"

    _, before = await desk.call("GET", f"/tickets/search?modifiedTimeRange={window}")
    desk.world.lag_s["desk"] = 0
    _, after = await desk.call("GET", f"/tickets/search?modifiedTimeRange={window}")

    assert before["data"][0]["statusType"] == "Open"
    assert after["data"][0]["statusType"] == "Closed"


async def test_closing_reopening_and_closing_again_is_in_the_history_newest_first(
    desk: Desk,
) -> None:
    ticket = await desk.ticket()
    await desk.staff(ticket["id"], "close", {"resolution": "<p>Done &amp; dusted</p>"})
    await desk.staff(ticket["id"], "reply", {"direction": "in", "content": "Not yet"})
    _, reopened = await desk.call("GET", f"/tickets/{ticket['id']}")
    await desk.staff(ticket["id"], "close")

    _, read = await desk.call("GET", f"/tickets/{ticket['id']}?include=contacts,departments")
    _, history = await desk.call("GET", f"/tickets/{ticket['id']}/History?fieldName=status")

    assert (reopened["statusType"], reopened["closedTime"]) == ("Open", None)
    assert (read["status"], read["resolution"]) == ("Closed", "<p>Done &amp; dusted</p>")
    assert read["contact"]["email"] == "ada@example.com"
    values = [line["eventInfo"][0]["propertyValue"] for line in history["data"]]
    assert [value["updatedValue"] for value in values[:3]] == ["Closed", "Open", "Closed"]


async def test_comments_are_kept_in_order_and_are_private_by_default(desk: Desk) -> None:
    ticket = await desk.ticket()
    path = f"/tickets/{ticket['id']}/comments"
    for content in ("one ref m1", "two ref m2"):
        await desk.call(
            "POST", path, {"content": content, "isPublic": False, "contentType": "plainText"}
        )
    await desk.call("POST", path, {"content": "<div>three</div>"})

    _, listed = await desk.call("GET", path)
    too_long, _ = await desk.call("POST", path, {"content": "x" * 32001})

    assert [row["plainText"] for row in listed["data"]] == ["one ref m1", "two ref m2", "three"]
    assert not any(row["isPublic"] for row in listed["data"])
    assert too_long == 422


async def test_a_merged_ticket_vanishes_and_a_trashed_one_can_still_be_read(desk: Desk) -> None:
    merged, trashed = await desk.ticket(), await desk.ticket()
    await desk.staff(merged["id"], "merge")
    await desk.staff(trashed["id"], "trash")

    status, body = await desk.call("GET", f"/tickets/{merged['id']}")
    _, read = await desk.call("GET", f"/tickets/{trashed['id']}")
    found, _ = await desk.call("GET", f"/tickets/search?id={trashed['id']}")

    assert (status, body["errorCode"]) == (404, "URL_NOT_FOUND")
    assert read["isTrashed"] is True
    assert found == 204


async def test_a_ticket_is_found_by_its_custom_field(desk: Desk) -> None:
    ticket = await desk.ticket(cf={"cf_app_escalation_id": "e7"})
    await desk.ticket(cf={"cf_app_escalation_id": "e8"})

    _, found = await desk.call("GET", "/tickets/search?customField1=cf_app_escalation_id:e7")

    assert [row["id"] for row in found["data"]] == [ticket["id"]]


async def test_searches_cost_three_credits_and_the_day_limit_says_when_to_come_back(
    desk: Desk,
) -> None:
    desk.world.limits.change("desk", {"day": 4})
    async with desk.client.get(
        "/desk/api/v1/tickets/search?subject=Help", headers=desk.headers
    ) as response:
        assert response.headers["X-Rate-Limit-Request-Weight-v3"] == "3"
        assert response.headers["X-Rate-Limit-Remaining-v3"] == "1"
    async with desk.client.get(
        "/desk/api/v1/tickets/search?subject=Help", headers=desk.headers
    ) as response:
        assert response.status == 429
        assert (await response.json())["errorCode"] == "THRESHOLD_EXCEEDED"
        assert int(response.headers["Retry-After"]) > 0


async def test_webhooks_come_as_arrays_signed_by_a_key_that_is_published(desk: Desk) -> None:
    heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        heard.put_nowait((request.headers["X-ZDesk-JWT"], await request.json()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hear", hear)
    async with TestServer(app) as listener:
        target = {"desk": {"url": str(listener.make_url("/hear")), "webhook_id": "77"}}
        await desk.client.put("/_sandbox/targets", json=target)
        ticket = await desk.ticket()
        await desk.staff(ticket["id"], "close")
        events: dict[str, Any] = {}
        async with asyncio.timeout(60):
            while not {"Ticket_Add", "Ticket_Update"} <= events.keys():  # in either order
                token, [event] = await heard.get()
                events[event["eventType"]] = event
        async with desk.client.get("/.well-known/jwks.json") as response:
            keys = jwt.PyJWKSet.from_dict(await response.json())

    claims = jwt.decode(
        token,
        keys[jwt.get_unverified_header(token)["kid"]],
        algorithms=["RS256"],
        audience="webhookId:77",
        issuer=f"orgId:{desk.world.settings.desk_org_id}",
    )
    assert claims["exp"] > claims["iat"]
    assert events["Ticket_Add"]["payload"]["id"] == ticket["id"]
    assert events["Ticket_Update"]["payload"]["statusType"] == "Closed"
    assert events["Ticket_Update"]["prevState"]["statusType"] == "Open"


async def test_a_webhook_is_made_only_for_a_url_that_answers(desk: Desk) -> None:
    async def hello(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/hello", hello)
    async with TestServer(app) as listener:
        body = {"url": str(listener.make_url("/hello")), "subscriptions": {"Ticket_Update": None}}
        made, _ = await desk.call("POST", "/webhooks", body)
        refused, _ = await desk.call("POST", "/webhooks", {**body, "url": "http://127.0.0.1:1/x"})

    assert (made, refused) == (200, 422)


async def test_the_description_is_the_first_thread(desk: Desk) -> None:
    ticket = await desk.ticket()
    await desk.staff(ticket["id"], "reply", {"content": "Please restart.", "direction": "out"})

    _, threads = await desk.call("GET", f"/tickets/{ticket['id']}/threads?limit=10")

    assert ticket["threadCount"] == "1"
    assert [row["direction"] for row in threads["data"]] == ["out", "in"]  # newest first
    assert threads["data"][1]["summary"] == "It does not work."
    bare = await desk.ticket(description=None)
    assert (bare["threadCount"], (await desk.call("GET", f"/tickets/{bare['id']}/threads"))[0]) == (
        "0",
        204,
    )


@pytest.mark.parametrize("moves", [True, False])
async def test_a_customers_reply_moves_its_own_time_and_perhaps_the_modified_time(
    desk: Desk, *, moves: bool
) -> None:
    switch = {"replies_move_modified_time": moves}
    async with desk.client.put("/_sandbox/behaviour", json=switch) as response:
        assert response.status == 200
    ticket = await desk.ticket()
    await asyncio.sleep(0.002)  # Desk's times have milliseconds

    await desk.staff(ticket["id"], "reply", {"content": "Still broken.", "direction": "in"})

    _, after = await desk.call("GET", f"/tickets/{ticket['id']}")
    assert (after["modifiedTime"] > ticket["modifiedTime"]) is moves
    assert after["customerResponseTime"] > ticket["customerResponseTime"]
    window = f"{after['customerResponseTime']},{after['customerResponseTime']}"
    status, found = await desk.call("GET", f"/tickets/search?customerResponseTimeRange={window}")
    assert (status, found["count"]) == (200, 1)
