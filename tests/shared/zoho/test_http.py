"""Test the outcome of a call on a real connection: done, surely not done, or unknown."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.errors import Misconfigured, OutcomeUnknown, RateLimited, Unavailable, ZohoRejected
from shared.lease_in_hand import LeaseInHand, holding
from shared.zoho.call.operation import Operation
from shared.zoho.quota.quota import QuotaFeedback
from tests.kit.zoho_access import CANCEL, CREATE, READ, Access, call_of, zoho_access

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Zoho:
    """A server that gives its answers in turn, one a request, and repeats the last one."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self._answers: list[Answer] = []

    def answers(self, *answers: Answer) -> None:
        self._answers = list(answers)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return await answer(request)


def says(status: int = 200, text: str = '{"code":0}', **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, text=text, content_type="application/json", headers=headers
        )

    return answer


async def breaks_off(request: web.Request) -> web.StreamResponse:
    """A reset once the request is here."""
    assert request.transport is not None
    raw: socket.socket = request.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.transport.abort()
    return web.Response()


@pytest.fixture
def zoho() -> Zoho:
    return Zoho()


@pytest.fixture
async def server(zoho: Zoho) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", zoho.serve)
    server = TestServer(app)
    async with server:
        yield server


@pytest.fixture
async def access(server: TestServer) -> AsyncIterator[Access]:
    async with zoho_access(str(server.make_url("")).rstrip("/")) as access:
        yield access


@pytest.fixture
async def nowhere() -> AsyncIterator[Access]:
    """Nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with zoho_access(f"http://127.0.0.1:{taken.getsockname()[1]}") as access:
            yield access


async def test_ids_and_money_arrive_as_they_were_sent(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(text='{"code":0,"customer":{"customer_id":4600000000012345678,"due":0.1}}'))

    reply = await access.call(CREATE, json={"amount": Decimal("10.10")})

    assert reply.body["customer"] == {"customer_id": "4600000000012345678", "due": Decimal("0.1")}
    assert zoho.bodies == [b'{"amount":10.10}']


@pytest.mark.parametrize(
    ("product", "header", "query"),
    [
        ("billing", ("X-com-zoho-subscriptions-organizationid", "700"), {"page": "2"}),
        ("books", None, {"page": "2", "organization_id": "701"}),
        ("desk", ("orgId", "702"), {"page": "2"}),
        ("crm", None, {"page": "2"}),
    ],
)
async def test_each_product_is_told_the_organization_its_own_way(
    access: Access, zoho: Zoho, product: Any, header: tuple[str, str] | None, query: dict[str, str]
) -> None:
    zoho.answers(says())
    await access.call(Operation(product, "list_things", "GET"), "/things", params={"page": 2})

    (request,) = zoho.requests
    assert dict(request.query) == query
    assert request.headers["Authorization"] == "Zoho-oauthtoken token-0"
    if header:
        assert request.headers[header[0]] == header[1]


async def test_an_operation_costs_its_weight_also_when_it_is_refused(
    access: Access, zoho: Zoho
) -> None:
    job = Operation("crm", "create_bulk_write_job", "POST", weight=500)
    zoho.answers(says(201, '{"data":[{"status":"success","code":"ADDED_SUCCESSFULLY"}]}'))
    await access.call(job, "/write", json={"operation": "upsert"})

    zoho.answers(says(403, '{"status":"error","code":"NO_PERMISSION"}'))
    with pytest.raises(Misconfigured) as refused:
        await access.call(job, "/write", json={"operation": "upsert"})

    assert access.quota.weights == [500, 500]
    assert (refused.value.product, refused.value.cause) == ("crm", "permission")


@pytest.mark.parametrize("product", ["crm", "desk", "billing"])
async def test_an_answer_without_a_body_is_an_empty_one(
    access: Access, zoho: Zoho, product: Any
) -> None:
    zoho.answers(says(204, ""))
    reply = await access.call(Operation(product, "search", "GET"), "/search")
    assert (reply.status, reply.body) == (204, {})


async def test_a_document_is_handed_over_as_it_is(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(200, "%PDF-1.7 ..."))
    pdf = Operation("books", "get_invoice", "GET", accept="pdf")
    reply = await access.call(pdf, "/invoices/1")
    assert reply.content.startswith(b"%PDF")
    assert zoho.requests[0].headers["Accept"] == "application/pdf"


async def test_a_list_of_events_is_put_under_data(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(200, '[{"id":1}]'))
    reply = await access.call(Operation("desk", "list", "GET"), "/things")
    assert reply.body == {"data": [{"id": 1}]}


@pytest.mark.parametrize("operation", [READ, CREATE, CANCEL])
async def test_a_refused_connection_is_surely_not_done(
    nowhere: Access, operation: Operation
) -> None:
    with pytest.raises(Unavailable) as caught:
        await nowhere.call(operation)
    assert caught.value.code == "zoho_unreachable"
    # Three tries, each with a permit of its own, none of which Zoho has counted.
    assert (nowhere.quota.taken, nowhere.quota.given_back) == (3, 3)
    assert [called.attempt for called in nowhere.calls] == [1, 2, 3]


async def test_a_lost_answer_to_a_write_leaves_it_open(access: Access, zoho: Zoho) -> None:
    zoho.answers(breaks_off)
    with pytest.raises(OutcomeUnknown) as caught:
        await access.call(CREATE, json={})
    assert caught.value.search_lag_s == 33.0
    assert len(zoho.requests) == 1
    assert access.quota.released == [QuotaFeedback()]


async def test_a_lost_answer_to_a_repeatable_write_is_left_to_the_message(
    access: Access, zoho: Zoho
) -> None:
    zoho.answers(breaks_off)
    with pytest.raises(Unavailable):
        await access.call(CANCEL)
    assert len(zoho.requests) == 1  # its state is read before it is tried again


async def test_a_lost_answer_to_a_read_is_asked_for_again(access: Access, zoho: Zoho) -> None:
    zoho.answers(breaks_off, says())
    await access.call(READ)
    assert access.quota.taken == len(zoho.requests) == 2


async def test_a_timeout_is_a_lost_answer(access: Access, zoho: Zoho) -> None:
    release = asyncio.Event()

    async def hangs(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    zoho.answers(hangs)
    slow = Operation("billing", "create_customer", "POST", timeout_s=0.2)
    with pytest.raises(OutcomeUnknown):
        await access.call(slow, json={})
    release.set()


async def test_a_put_on_a_connection_that_was_closed_is_not_sent_twice_in_secret(
    access: Access, zoho: Zoho
) -> None:
    """aiohttp would send it again by itself, and Zoho would count two calls."""
    put = Operation("books", "upsert_invoice", "PUT", repeatable=True)
    zoho.answers(says(), breaks_off)
    await access.call(put, json={})

    with pytest.raises(Unavailable):
        await access.call(put, json={})

    assert access.quota.taken == len(zoho.requests) == 2


async def test_nothing_is_written_after_its_last_moment(access: Access, zoho: Zoho) -> None:
    zoho.answers(says())
    async with access.http.permit(call_of(CREATE)) as permit:
        permit.write_until = time.monotonic() - 0.001
        with pytest.raises(Unavailable) as caught:
            await access.call(CREATE, json={}, permit=permit)
    assert caught.value.code == "too_late"
    assert (zoho.requests, access.quota.given_back) == ([], 1)


@pytest.mark.parametrize("left_s", [-0.001, 60.0], ids=["lapsed", "held"])
async def test_nothing_is_written_under_a_lease_that_lapsed(
    access: Access, zoho: Zoho, left_s: float
) -> None:
    zoho.answers(says())
    put = Operation("billing", "update_customer", "PUT", repeatable=True)
    with holding(LeaseInHand(time.monotonic() + left_s)):
        if left_s > 0:
            await access.call(put, json={})
        else:
            with pytest.raises(Unavailable, match="last moment"):
                await access.call(put, json={})
    assert len(zoho.requests) == (left_s > 0)


async def test_later_tries_keep_the_last_moment_of_the_first(access: Access, zoho: Zoho) -> None:
    async with access.http.permit(call_of(CREATE)) as permit:
        in_process = says(429, '{"code":1070,"message":"in process"}')

        async def too_many_while_the_moment_passes(request: web.Request) -> web.StreamResponse:
            permit.write_within(0.0)
            return await in_process(request)

        zoho.answers(too_many_while_the_moment_passes, says())
        with pytest.raises(Unavailable) as caught:
            await access.call(CREATE, json={}, permit=permit)
    assert caught.value.code == "too_late"
    assert len(zoho.requests) == 1


async def test_an_unused_permit_is_given_back(access: Access) -> None:
    async with access.http.permit(call_of(CREATE)):
        pass
    assert access.quota.given_back == 1


async def test_too_many_at_once_is_waited_out_in_place(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(429, '{"code":1070,"message":"in process"}'), says(201))
    assert (await access.call(CREATE, json={})).status == 201
    assert [called.outcome for called in access.calls] == ["concurrency", "ok"]
    assert access.quota.taken == 2


async def test_a_minutes_limit_is_left_to_the_message(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(429, '{"code":44,"message":"blocked"}'))
    with pytest.raises(RateLimited) as caught:
        await access.call(CREATE, json={})
    assert (caught.value.limit, caught.value.retry_after_s) == ("minute", 60.0)
    assert len(zoho.requests) == 1


async def test_a_token_that_zoho_refuses_is_replaced_once(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(401, '{"code":14,"message":"invalid"}'), says(201))
    await access.call(CREATE, json={})
    assert access.tokens.reported == ["token-0"]
    assert zoho.requests[1].headers["Authorization"] == "Zoho-oauthtoken token-1"


async def test_a_second_refusal_of_a_fresh_token_is_for_a_person(
    access: Access, zoho: Zoho
) -> None:
    zoho.answers(says(401, '{"code":14,"message":"invalid"}'))
    with pytest.raises(Misconfigured) as caught:
        await access.call(CREATE, json={})
    assert caught.value.cause == "token"
    assert len(access.tokens.reported) == 1


LOOKS_ALIKE = says(401, '{"code":57,"message":"You are not authorized"}')


async def test_a_dead_token_that_looks_like_a_missing_scope_is_replaced(
    access: Access, zoho: Zoho
) -> None:
    zoho.answers(LOOKS_ALIKE, says())
    assert (await access.call(READ)).status == 200
    assert access.tokens.reported == ["token-0"]


async def test_missing_scopes_cost_one_token_however_many_operations_lack_one(
    access: Access, zoho: Zoho
) -> None:
    zoho.answers(LOOKS_ALIKE, LOOKS_ALIKE, LOOKS_ALIKE)
    for operation in (READ, CREATE):
        with pytest.raises(Misconfigured) as caught:
            await access.call(operation)
        assert caught.value.cause == "scope"
    assert access.tokens.reported == ["token-0"]


async def test_a_redirect_is_not_followed(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(302, "", Location="https://elsewhere.invalid/"))
    with pytest.raises(OutcomeUnknown):
        await access.call(CREATE, json={})
    assert len(zoho.requests) == 1


async def test_an_open_breaker_refuses_without_a_call(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(200, '{"code":6018,"message":"disabled"}'))
    with pytest.raises(Misconfigured):
        await access.call(READ)

    with pytest.raises(Misconfigured) as caught:
        await access.call(CREATE, json={})

    assert caught.value.cause == "disabled_user"
    assert len(zoho.requests) == 1
    assert access.quota.taken == 1


async def test_a_call_that_is_called_off_still_counts(access: Access, zoho: Zoho) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def hangs(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await release.wait()
        return web.Response()

    zoho.answers(hangs)
    call = asyncio.create_task(access.call(CREATE, json={}))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    release.set()
    assert access.quota.released == [QuotaFeedback()]


async def test_what_is_told_of_a_call_holds_nothing_personal(access: Access, zoho: Zoho) -> None:
    zoho.answers(says(400, '{"code":"ana@example.com","message":"ana@example.com"}'))
    with pytest.raises(ZohoRejected) as caught:
        await access.call(CREATE, "/customers/4600000000012345678", json={"email": "x@y.z"})
    shown = f"{access.calls} {caught.value} {vars(caught.value)}"
    assert "example" not in shown
    assert "46000" not in shown
