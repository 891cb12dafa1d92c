"""Test every known answer of every product, from Zoho's response to the error that is raised."""

from typing import Any

import pytest

from shared.errors import (
    IntegrationError,
    Misconfigured,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    ZohoRejected,
)
from shared.zoho import waits
from shared.zoho.call.endpoints import Endpoints
from shared.zoho.call.known_answers import NOT_JSON, KnownAnswer, Meaning
from shared.zoho.call.operation import Operation
from shared.zoho.products.profiles import PROFILES
from tests.kit.mocked_http import MockedHttp
from tests.kit.zoho_access import ORGANIZATIONS, Access, zoho_access

HOSTS = {
    "billing": "https://www.zohoapis.com/billing/v1/things",
    "books": "https://www.zohoapis.com/books/v3/things?organization_id=701",
    "crm": "https://www.zohoapis.com/crm/v8/things",
    "desk": "https://desk.zoho.com/api/v1/things",
}
ROWS = [
    pytest.param(product, row, id=f"{product}-{row.status}-{row.zoho_code}-{row.meaning.value}")
    for product, profile in PROFILES.items()
    for row in profile.known_answers
]


def body_of(product: str, row: KnownAnswer) -> dict[str, Any] | str:
    message = f"invalid value for {row.quotes}" if row.quotes else "a sentence of Zoho's"
    if row.zoho_code == NOT_JSON:
        return "<html><body>Too many requests</body></html>"
    code = row.zoho_code
    match product:
        case "billing" | "books":
            assert code is not None
            return {"code": int(code) if code.isdigit() else code, "message": message}
        case "crm":
            return {"code": code, "details": {}, "message": message, "status": "error"}
        case _:
            return {"errorCode": code, "message": message}


def answers(zoho: MockedHttp, product: str, row: KnownAnswer, *, times: int = 5) -> None:
    body = body_of(product, row)
    for _ in range(times):
        if isinstance(body, str):
            zoho.post(HOSTS[product], status=row.status or 400, body=body, content_type="text/html")
        else:
            # A row for any status is tried under 200: there errors hide best.
            zoho.post(HOSTS[product], status=row.status or 200, payload=body)


async def error_of(access: Access, operation: Operation) -> IntegrationError:
    with pytest.raises(IntegrationError) as caught:
        await access.call(operation, "/things", json={"name": "x"})
    return caught.value


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(_seconds: float) -> None:
        return None

    monkeypatch.setattr("backoff._async.asyncio.sleep", at_once)


@pytest.mark.parametrize(("product", "row"), ROWS)
async def test_every_row_becomes_the_error_it_stands_for(product: str, row: KnownAnswer) -> None:
    create = Operation(product, "create_thing", "POST", search_lag_s=33.0)
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            answers(zoho, product, row)
            error = await error_of(access, create)

    match row.meaning:
        case Meaning.MINUTE_LIMIT | Meaning.DAY_LIMIT | Meaning.CONCURRENCY_LIMIT:
            assert isinstance(error, RateLimited)
            assert (error.limit, error.product) == (row.meaning.value, product)
            assert error.retry_after_s == waits.AFTER_LIMIT_S[row.meaning.value]
        case Meaning.BAD_TOKEN:
            assert isinstance(error, Misconfigured)
            cause = row.if_again.value if row.if_again else "token"
            assert (error.cause, access.tokens.reported) == (cause, ["token-0"])
        case Meaning.REJECTED:
            assert isinstance(error, ZohoRejected)
            assert error.zoho_code == row.zoho_code
            assert error.code == (row.code or "zoho_rejected")
        case Meaning.NOT_YET:
            assert isinstance(error, Unavailable)
            assert (error.code, error.retry_after_s) == (row.code, row.wait_s)
        case Meaning.OUTAGE:
            assert isinstance(error, OutcomeUnknown)
            assert error.search_lag_s == 33.0
        case _:
            assert isinstance(error, Misconfigured)
            assert (error.product, error.cause) == (product, row.meaning.value)
    if row.meaning is not Meaning.BAD_TOKEN:
        assert access.tokens.reported == []  # a new token would not help, and costs a mint


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, ZohoRejected), (403, Misconfigured), (418, ZohoRejected), (429, RateLimited)],
)
@pytest.mark.parametrize("product", PROFILES)
async def test_an_unknown_code_is_told_by_its_status(
    product: str, status: int, kind: type[IntegrationError]
) -> None:
    create = Operation(product, "create_thing", "POST")
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            answers(zoho, product, KnownAnswer(status, "99999", Meaning.REJECTED, "ours"))
            assert type(await error_of(access, create)) is kind


async def test_a_record_that_is_hidden_says_nothing_of_the_next_one() -> None:
    read = Operation("desk", "get_thing", "GET", repeatable=True, of_one_record=True)
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            zoho.get(HOSTS["desk"], status=403, payload={"errorCode": "FORBIDDEN", "message": ""})
            zoho.get(HOSTS["desk"], status=200, payload={"id": "1"})
            with pytest.raises(ZohoRejected) as caught:
                await access.call(read, "/things")
            reply = await access.call(read, "/things")

    assert caught.value.code == "zoho_forbidden"
    assert reply.body == {"id": "1"}


@pytest.mark.parametrize(
    ("errors", "fields"),
    [
        ([{"fieldName": "/priority"}, {"fieldName": "/cf/cf_x"}], ("priority", "cf/cf_x")),
        ([{"fieldName": "ada@example.com"}, {"other": 1}, "text"], ()),
        (None, ()),
        (7, ()),
    ],
)
async def test_desks_refusal_names_the_fields_and_no_values(
    errors: Any, fields: tuple[str, ...]
) -> None:
    body = {"errorCode": "INVALID_DATA", "message": "", "errors": errors}
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            zoho.post(HOSTS["desk"], status=422, payload=body)
            error = await error_of(access, Operation("desk", "create_thing", "POST"))

    assert isinstance(error, ZohoRejected)
    assert error.fields == fields


@pytest.mark.parametrize("status", [200, 500, 502, 503])
async def test_a_page_instead_of_an_answer_leaves_open_whether_it_was_done(status: int) -> None:
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            answers(zoho, "billing", KnownAnswer(status, NOT_JSON, Meaning.OUTAGE, "finance 5.2"))
            once = await error_of(access, Operation("billing", "create_thing", "POST"))
            again = await error_of(
                access, Operation("billing", "cancel_thing", "POST", repeatable=True)
            )
    assert isinstance(once, OutcomeUnknown)
    assert isinstance(again, Unavailable)


async def test_a_page_of_the_front_door_was_not_done() -> None:
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            answers(zoho, "billing", KnownAnswer(404, NOT_JSON, Meaning.NOT_YET, "finance 5.2"))
            error = await error_of(access, Operation("billing", "create_thing", "POST"))
    assert isinstance(error, Unavailable)


@pytest.mark.parametrize(
    ("product", "headers", "wait_s"),
    [
        ("books", {"X-Rate-Limit-Reset": "7500"}, 7500.0),
        ("books", {"Retry-After": "90", "X-Rate-Limit-Reset": "7500"}, 90.0),
        ("books", {"X-Rate-Limit-Reset": "soon"}, 3600.0),
        ("desk", {"Retry-After": "1234"}, 1234.0),
    ],
)
async def test_zohos_own_time_wins(product: str, headers: dict[str, str], wait_s: float) -> None:
    row = next(row for row in PROFILES[product].known_answers if row.meaning is Meaning.DAY_LIMIT)
    create = Operation(product, "create_thing", "POST")
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            body = body_of(product, row)
            assert isinstance(body, dict)
            zoho.post(HOSTS[product], status=429, payload=body, headers=headers)
            error = await error_of(access, create)
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == wait_s


async def test_crm_without_credits_left_is_probed_after_half_an_hour() -> None:
    row = next(row for row in PROFILES["crm"].known_answers if row.zoho_code == "TOO_MANY_REQUESTS")
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            body = body_of("crm", row)
            assert isinstance(body, dict)
            none_left = {"X-API-CREDITS-REMAINING": "0"}
            for _ in range(3):
                zoho.post(HOSTS["crm"], status=429, payload=body, headers=none_left)
            error = await error_of(access, Operation("crm", "upsert", "POST"))
    assert isinstance(error, RateLimited)
    assert (error.limit, error.retry_after_s) == ("day", 1800.0)


ROW_ERRORS = {
    "data": [
        {"code": "SUCCESS", "status": "success", "details": {"id": 4876876000001234567}},
        {"code": "MANDATORY_NOT_FOUND", "status": "error", "details": {"api_name": "Last_Name"}},
    ]
}


@pytest.mark.parametrize("status", [200, 202, 207, 400])
async def test_rows_keep_their_places_whatever_the_status(status: int) -> None:
    upsert = Operation("crm", "upsert_contacts", "POST", repeatable=True, rows=True)
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            zoho.post(HOSTS["crm"], status=status, payload=ROW_ERRORS)
            reply = await access.call(upsert, "/things", json={"data": []})
    assert [row["code"] for row in reply.body["data"]] == ["SUCCESS", "MANDATORY_NOT_FOUND"]
    assert reply.body["data"][0]["details"]["id"] == "4876876000001234567"


@pytest.mark.parametrize("status", [200, 202, 207, 400])
async def test_one_failed_row_raises_when_rows_were_not_asked_for(status: int) -> None:
    async with zoho_access() as access:
        with MockedHttp() as zoho:
            zoho.post(HOSTS["crm"], status=status, payload=ROW_ERRORS)
            error = await error_of(access, Operation("crm", "insert_note", "POST"))
    assert isinstance(error, ZohoRejected)
    assert error.zoho_code == "MANDATORY_NOT_FOUND"


def test_the_hosts_above_are_the_endpoints() -> None:
    endpoints = Endpoints(PROFILES, organization_ids=ORGANIZATIONS)
    for product, url in HOSTS.items():
        assert endpoints.url(product, "/things") == url.partition("?")[0]
