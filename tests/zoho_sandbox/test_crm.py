"""Test the sandbox's CRM as a client uses it: over HTTP, with a token."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from services.zoho_sandbox.accounts import routes as accounts
from services.zoho_sandbox.crm import routes as product
from services.zoho_sandbox.server import admin
from services.zoho_sandbox.server.world import World
from services.zoho_sandbox.settings import SandboxSettings

Client = TestClient[web.Request, web.Application]


class Crm:
    """Calls CRM with a token. Paths are relative to `/crm/v8`."""

    def __init__(self, client: Client, world: World, token: str) -> None:
        self.client = client
        self.world = world
        self.headers = {"Authorization": f"Zoho-oauthtoken {token}"}

    async def call(
        self, method: str, path: str, body: Any = None, *, version: str = "v8", **headers: str
    ) -> tuple[int, Any]:
        async with self.client.request(
            method, f"/crm/{version}{path}", json=body, headers={**self.headers, **headers}
        ) as response:
            return response.status, await response.json() if response.status not in (
                204,
                304,
            ) else None

    async def upsert(self, *rows: dict[str, Any], **more: Any) -> tuple[int, Any]:
        return await self.call("POST", "/Contacts/upsert", {"data": list(rows), **more})

    async def staff(self, path: str, body: Any) -> Any:
        async with self.client.post(f"/_sandbox/crm/contacts/{path}", json=body) as response:
            assert response.status == 200
            return await response.json()


@pytest.fixture
async def crm() -> AsyncIterator[Crm]:
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
        yield Crm(client, world, token)
    await world.webhooks.close()


ADA = {"Last_Name": "Lovelace", "Email": "ada@example.com", "App_User_Id": "u1"}


async def test_the_same_upsert_twice_leaves_one_contact(crm: Crm) -> None:
    first = await crm.upsert(ADA)
    second = await crm.upsert(ADA)

    assert first[0] == second[0] == 200
    assert first[1]["data"][0]["action"] == "insert"
    assert second[1]["data"][0]["action"] == "update"
    assert second[1]["data"][0]["duplicate_field"] == "Email"
    assert len(crm.world.table("crm", "contacts")) == 1


async def test_the_same_insert_twice_is_two_contacts_unless_a_unique_field_forbids_it(
    crm: Crm,
) -> None:
    no_id = {"Last_Name": "Lovelace", "Email": "ada@example.com"}
    assert (await crm.call("POST", "/Contacts", {"data": [no_id]}))[0] == 201
    assert (await crm.call("POST", "/Contacts", {"data": [no_id]}))[0] == 201
    await crm.upsert({**ADA, "Email": "other@example.com"})

    status, body = await crm.call("POST", "/Contacts", {"data": [ADA]})

    assert status == 400
    assert body["data"][0]["code"] == "DUPLICATE_DATA"
    assert body["data"][0]["details"]["api_name"] == "App_User_Id"


async def test_rows_answer_by_position_and_a_mixed_batch_is_207(crm: Crm) -> None:
    status, body = await crm.upsert(
        {"Email": "nameless@example.com"}, ADA, {"Last_Name": "X", "Phone": "1//2"}
    )

    assert status == 207
    codes = [row["code"] for row in body["data"]]
    assert codes == ["MANDATORY_NOT_FOUND", "SUCCESS", "INVALID_DATA"]
    assert body["data"][2]["details"]["json_path"] == "$.data[2].Phone"


@pytest.mark.parametrize(
    ("field", "value", "detail"),
    [
        ("Phone", "+1 (555) 010-2030", None),
        ("Phone", "+491701234567", None),
        ("Phone", "++1 555", "expected_data_type"),
        ("Phone", "1" * 31, "maximum_length"),
        ("Last_Name", "x" * 81, "maximum_length"),
        ("Email", "no-at-sign", "expected_data_type"),
        ("Tag", ["App User"], "expected_data_type"),
        ("Tag", [{"name": "x" * 26}], "maximum_length"),
        ("Tag", [{"name": "a,b"}], "expected_data_type"),
        ("Tag", [{"name": f"t{n}"} for n in range(11)], "limit"),
    ],
)
async def test_a_value_off_its_rule_fails_the_whole_row(
    crm: Crm, field: str, value: Any, detail: str | None
) -> None:
    _, body = await crm.upsert({**ADA, field: value})

    row = body["data"][0]
    assert (row["status"] == "success") is (detail is None)
    assert detail is None or detail in row["details"]


async def test_check_fields_decide_in_their_order_and_leaving_email_out_ignores_it(
    crm: Crm,
) -> None:
    await crm.upsert(ADA)

    _, by_id = await crm.upsert(
        {**ADA, "Email": "new@example.com"}, duplicate_check_fields=["App_User_Id", "Email"]
    )
    _, without_email = await crm.upsert(
        {"Last_Name": "L", "Email": "new@example.com"}, duplicate_check_fields=["App_User_Id"]
    )
    status, illegal = await crm.upsert(ADA, duplicate_check_fields=["Phone"])

    assert by_id["data"][0]["duplicate_field"] == "App_User_Id"
    assert without_email["data"][0]["action"] == "insert"
    assert (status, illegal["code"]) == (400, "INVALID_DATA")


async def test_an_upsert_that_finds_one_contact_and_collides_with_another_is_refused(
    crm: Crm,
) -> None:
    await crm.upsert(ADA)
    await crm.upsert({"Last_Name": "B", "Email": "b@example.com", "App_User_Id": "u2"})

    _, body = await crm.upsert({**ADA, "App_User_Id": "u2"}, duplicate_check_fields=["Email"])

    assert body["data"][0]["code"] == "DUPLICATE_DATA"


async def test_an_upsert_finds_a_contact_by_the_email_that_it_has_now(crm: Crm) -> None:
    _, first = await crm.upsert(ADA, duplicate_check_fields=["Email"])
    contact_id = first["data"][0]["details"]["id"]
    await crm.call("PUT", "/Contacts", {"data": [{"id": contact_id, "Email": "new@example.com"}]})

    _, by_now = await crm.upsert(
        {"Last_Name": "L", "Email": "New@Example.com"}, duplicate_check_fields=["Email"]
    )
    _, by_former = await crm.upsert(
        {"Last_Name": "L", "Email": ADA["Email"]}, duplicate_check_fields=["Email"]
    )
    await crm.call("DELETE", f"/Contacts/{contact_id}")
    _, once_deleted = await crm.upsert(
        {"Last_Name": "L", "Email": "new@example.com"}, duplicate_check_fields=["Email"]
    )

    assert by_now["data"][0]["details"]["id"] == contact_id
    assert by_former["data"][0]["action"] == once_deleted["data"][0]["action"] == "insert"


async def test_search_lags_while_reads_by_id_and_coql_do_not(crm: Crm) -> None:
    crm.world.lag_s["crm"] = 60
    _, body = await crm.upsert(ADA)
    zoho_id = body["data"][0]["details"]["id"]
    query = "select Email from Contacts where (Email = 'ada@example.com' and Last_Name is not null)"

    assert (await crm.call("GET", "/Contacts/search?email=ada@example.com"))[0] == 204
    assert (await crm.call("GET", f"/Contacts/{zoho_id}"))[0] == 200
    status, found = await crm.call("POST", "/coql", {"select_query": query})
    crm.world.lag_s["crm"] = 0

    assert (status, found["data"][0]["id"]) == (200, zoho_id)
    assert (await crm.call("GET", "/Contacts/search?email=ada@example.com"))[0] == 200


async def test_search_finds_more_than_was_asked_for(crm: Crm) -> None:
    await crm.upsert(ADA, {"Last_Name": "B", "Email": "not-ada@example.com"})

    _, body = await crm.call("GET", "/Contacts/search?email=ada@example.com")

    assert {row["Email"] for row in body["data"]} == {"ada@example.com", "not-ada@example.com"}


async def test_lists_want_fields_from_v3_on_and_hand_out_page_tokens(crm: Crm) -> None:
    await crm.upsert(*({"Last_Name": f"L{n}", "Email": f"l{n}@example.com"} for n in range(3)))

    assert (await crm.call("GET", "/Contacts"))[0] == 400
    assert (await crm.call("GET", "/Contacts", version="v2"))[0] == 200
    _, first = await crm.call("GET", "/Contacts?fields=Email&per_page=2")
    token = first["info"]["next_page_token"]
    _, second = await crm.call("GET", f"/Contacts?fields=Email&per_page=2&page_token={token}")

    emails = [row["Email"] for row in first["data"] + second["data"]]
    assert emails == ["l2@example.com", "l1@example.com", "l0@example.com"]


async def test_tags_go_by_query_in_v2_and_by_body_later_and_staffs_own_stay(crm: Crm) -> None:
    _, body = await crm.upsert(ADA)
    zoho_id = body["data"][0]["details"]["id"]
    await crm.staff(f"{zoho_id}/edit", {"Tag": ["VIP"]})

    path = f"/Contacts/{zoho_id}/actions"
    body_in_v2 = await crm.call("POST", f"{path}/add_tags", {"tags": [{"name": "A"}]}, version="v2")
    added_v2 = await crm.call("POST", f"{path}/add_tags?tag_names=App%20User,Active", version="v2")
    added = await crm.call(
        "POST", "/Contacts/actions/add_tags", {"tags": [{"name": "Trial"}], "ids": [zoho_id]}
    )
    removed = await crm.call("POST", f"{path}/remove_tags", {"tags": [{"name": "Active"}]})

    assert body_in_v2[0] == 400
    assert added_v2[1]["data"][0]["details"]["tags"] == ["VIP", "App User", "Active"]
    assert added[1]["success_count"] == "1"
    assert removed[0] == 200
    _, contact = await crm.call("GET", f"/Contacts/{zoho_id}")
    assert [tag["name"] for tag in contact["data"][0]["Tag"]] == ["VIP", "App User", "Trial"]


async def test_a_merged_contact_is_gone_and_its_id_is_invalid_for_writes(crm: Crm) -> None:
    _, body = await crm.upsert(
        ADA, {"Last_Name": "Twin", "Email": "t@example.com", "Phone": "+1 2"}
    )
    master, child = (row["details"]["id"] for row in body["data"])

    await crm.staff(f"{child}/merge", {"into": master})

    assert (await crm.call("GET", f"/Contacts/{child}"))[0] == 204
    status, body = await crm.call("PUT", f"/Contacts/{child}", {"data": [{"Last_Name": "X"}]})
    assert (status, body["data"][0]["code"]) == (400, "INVALID_DATA")
    _, kept = await crm.call("GET", f"/Contacts/{master}")
    assert kept["data"][0]["Phone"] == "+1 2"
    _, deleted = await crm.call("GET", "/Contacts/deleted")
    assert [row["id"] for row in deleted["data"]] == [child]


async def test_notes_are_not_repeatable_and_need_a_contact(crm: Crm) -> None:
    _, body = await crm.upsert(ADA)
    zoho_id = body["data"][0]["details"]["id"]
    note = {"Note_Title": "Chat", "Note_Content": "ref i1"}

    for _ in range(2):
        status, _ = await crm.call("POST", f"/Contacts/{zoho_id}/Notes", {"data": [note]})
        assert status == 201
    status, refused = await crm.call(
        "POST", "/Notes", {"data": [{**note, "Parent_Id": {"id": "1"}}]}
    )

    assert (status, refused["data"][0]["code"]) == (400, "INVALID_DATA")
    _, listed = await crm.call("GET", f"/Contacts/{zoho_id}/Notes?fields=Note_Content")
    assert len(listed["data"]) == 2


async def test_credits_are_shown_only_once_half_of_them_are_used(crm: Crm) -> None:
    crm.world.limits.change("crm", {"day": 10})
    headers = []
    for _ in range(6):
        async with crm.client.get("/crm/v8/org", headers=crm.headers) as response:
            headers.append(response.headers.get("X-API-CREDITS-REMAINING"))

    assert headers == [None] * 4 + ["5", "4"]


async def test_a_batch_costs_a_credit_for_ten_rows(crm: Crm) -> None:
    rows = [{"Last_Name": f"L{n}", "Email": f"l{n}@example.com"} for n in range(25)]
    await crm.upsert(*rows)

    assert crm.world.limits["crm"].as_json()["day_used"] == 3


async def test_a_channel_that_asks_for_too_long_gets_an_hour_and_is_notified_of_changes(
    crm: Crm,
) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        heard.put_nowait(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hear", hear)
    async with TestServer(app) as listener:
        expiry = (crm.world.clock.now() + timedelta(days=30)).isoformat(timespec="seconds")
        channel = {
            "channel_id": "1000000068001",
            "events": ["Contacts.all"],
            "notify_url": str(listener.make_url("/hear")),
            "token": "channel-token",
            "channel_expiry": expiry,
        }
        status, body = await crm.call("POST", "/actions/watch", {"watch": [channel]})
        granted = body["watch"][0]["details"]["events"][0]["channel_expiry"]
        _, written = await crm.upsert(ADA)
        told = await asyncio.wait_for(heard.get(), 10)

    assert status == 201
    assert datetime.fromisoformat(granted) < crm.world.clock.now() + timedelta(hours=2)
    assert told["token"] == "channel-token"
    assert told["operation"] == "insert"
    assert told["ids"] == [written["data"][0]["details"]["id"]]


async def test_a_channel_is_prolonged_while_it_lives_and_not_after(crm: Crm) -> None:
    now = crm.world.clock.now()
    channel = {
        "channel_id": "1000000068001",
        "events": ["Contacts.edit"],
        "notify_url": "http://127.0.0.1:9/hear",
        "channel_expiry": (now + timedelta(days=6)).isoformat(timespec="seconds"),
    }
    assert (await crm.call("PUT", "/actions/watch", {"watch": [channel]}))[0] == 400
    await crm.call("POST", "/actions/watch", {"watch": [channel]})

    alive, _ = await crm.call("PUT", "/actions/watch", {"watch": [channel]})
    crm.world.table("crm", "channels").get("1000000068001")["channel_expiry"] = now.isoformat()  # type: ignore[index]
    status, body = await crm.call("PUT", "/actions/watch", {"watch": [channel]})

    assert (alive, status) == (200, 400)
    assert body["watch"][0]["code"] == "NOT_SUBSCRIBED"


async def test_a_workflow_rule_posts_a_form_unless_the_write_starts_no_automation(crm: Crm) -> None:
    heard: asyncio.Queue[Any] = asyncio.Queue()

    async def hear(request: web.Request) -> web.Response:
        heard.put_nowait((request.headers["X-Webhook-Secret"], dict(await request.post())))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hear", hear)
    async with TestServer(app) as listener:
        url = str(listener.make_url("/hear"))
        crm.world.webhooks.set_targets({"crm": {"url": url, "workflow_secret": "of the rule"}})
        await crm.upsert(ADA, trigger=[])
        _, written = await crm.upsert({**ADA, "Phone": "+49 30 998877"}, trigger=["workflow"])
        told = await asyncio.wait_for(heard.get(), 10)

    assert told == ("of the rule", {"contact_id": written["data"][0]["details"]["id"]})
    assert heard.empty()
    assert len(crm.world.webhooks.deliveries()) == 1


async def test_coql_doubles_a_quote(crm: Crm) -> None:
    await crm.upsert({**ADA, "Email": "o'brien@example.com"})

    query = "select Email from Contacts where (Email in ('o''brien@example.com', 'x'))"
    _, found = await crm.call("POST", "/coql", {"select_query": query})

    assert [row["Email"] for row in found["data"]] == ["o'brien@example.com"]


async def test_a_missing_scope_is_named_and_is_not_an_invalid_token(crm: Crm) -> None:
    token = next(iter(crm.world.table("accounts", "tokens")))
    token["scope"] = "ZohoCRM.modules.ALL"

    status, body = await crm.call("GET", "/Contacts/search?email=ada@example.com")

    assert (status, body["code"]) == (401, "OAUTH_SCOPE_MISMATCH")


async def test_modules_and_related_lists_are_listed_for_zohos_own_sdks(crm: Crm) -> None:
    status, modules = await crm.call("GET", "/settings/modules")
    related = await crm.call("GET", "/settings/related_lists?module=Contacts")
    one = await crm.call("GET", "/settings/modules/Contacts")
    unknown = await crm.call("GET", "/settings/modules/Deals")

    assert status == 200
    assert {module["api_name"] for module in modules["modules"]} == {"Contacts", "Notes"}
    assert "Notes" in [row["api_name"] for row in related[1]["related_lists"]]
    assert one[1]["modules"][0]["generated_type"] == "default"
    assert (unknown[0], unknown[1]["code"]) == (400, "INVALID_MODULE")


async def test_unchanged_records_are_answered_304_without_a_body(crm: Crm) -> None:
    contact_id = (await crm.upsert(ADA))[1]["data"][0]["details"]["id"]
    contact = (await crm.call("GET", f"/Contacts/{contact_id}"))[1]["data"][0]
    modified = datetime.fromisoformat(contact["Modified_Time"])
    same = modified.astimezone(UTC).isoformat()
    before = (modified - timedelta(seconds=1)).astimezone(UTC).isoformat()

    for path in (f"/Contacts/{contact_id}", "/Contacts?fields=Email"):
        unchanged = await crm.call("GET", path, **{"If-Modified-Since": same})
        changed = await crm.call("GET", path, **{"If-Modified-Since": before})

        assert unchanged == (304, None)
        assert changed[0] == 200


async def test_a_lowered_length_is_listed_and_named_in_the_refusal(crm: Crm) -> None:
    async with crm.client.put(
        "/_sandbox/behaviour", json={"maximum_lengths": {"Phone": 5}}
    ) as response:
        assert response.status == 200

    fields = (await crm.call("GET", "/settings/fields?module=Contacts"))[1]["fields"]
    status, body = await crm.upsert({**ADA, "Phone": "123456"})

    assert {row["api_name"]: row["length"] for row in fields}["Phone"] == 5
    assert (status, body["data"][0]["code"]) == (400, "INVALID_DATA")
    assert body["data"][0]["details"]["maximum_length"] == 5
    assert (await crm.upsert({**ADA, "Phone": "12345"}))[0] == 200


@pytest.mark.parametrize(("kind", "flat"), [("pattern_not_matched", True), ("html_400", False)])
async def test_a_whole_call_is_refused_because_of_one_row(
    crm: Crm, kind: str, *, flat: bool
) -> None:
    fault = {"product": "crm", "kind": kind, "body_contains": "culprit@example.com"}
    async with crm.client.post("/_sandbox/faults", json=fault) as response:
        assert response.status == 200
    culprit = {"Last_Name": "Culprit", "Email": "culprit@example.com"}

    async with crm.client.post(
        "/crm/v8/Contacts/upsert", json={"data": [ADA, culprit]}, headers=crm.headers
    ) as response:
        status, content_type = response.status, response.content_type
        body = await response.json() if flat else await response.text()

    assert status == 400
    assert content_type == ("application/json" if flat else "text/html")
    if flat:
        assert (body["code"], body["status"]) == ("PATTERN_NOT_MATCHED", "error")
        assert "data" not in body
    assert len(crm.world.table("crm", "contacts")) == 0
    assert (await crm.upsert(ADA))[0] == 200


async def test_a_contact_has_ten_tags_at_most(crm: Crm) -> None:
    contact_id = (await crm.upsert(ADA))[1]["data"][0]["details"]["id"]
    path = f"/Contacts/{contact_id}/actions/add_tags"
    ten = [{"name": f"t{number}"} for number in range(10)]

    full = await crm.call("POST", path, {"tags": ten})
    again = await crm.call("POST", path, {"tags": ten[:1]})
    status, body = await crm.call("POST", path, {"tags": [{"name": "eleventh"}]})

    assert (full[0], again[0]) == (200, 200)
    assert (status, body["data"][0]["code"]) == (400, "LIMIT_EXCEEDED")
    contact = (await crm.call("GET", f"/Contacts/{contact_id}"))[1]["data"][0]
    assert [tag["name"] for tag in contact["Tag"]] == [tag["name"] for tag in ten]
