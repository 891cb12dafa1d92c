"""Test what `zoho-relay` shows of queues, inboxes, outboxes and effects."""

import asyncio

import pytest
from aio_pika import Message

from shared.background import ended
from shared.errors import NotYetKnown
from shared.version import VERSION
from tests.operator.busy_broker import busy_broker
from tests.operator.conftest import until

EFFECT = """
    INSERT INTO relay.effects (org, operation, business_id, product, state, write_until, look_after)
    VALUES ('default', $1, $2, 'billing', $3, now(), now() + make_interval(secs => $4))
    """
# Looking is allowed so many seconds from now.
NOT_YET_S, OVERDUE_S = 300, -300


@pytest.fixture
async def held(desk):
    """A worker whose handler waits until the test is over."""
    go = asyncio.Event()

    async def wait(message, work):
        await go.wait()

    async with desk.worker({"user.updated.v1": wait}) as worker:
        await until(worker.ready)
        yield worker
        go.set()


async def publish(desk, message_id, user_id):
    exchange = await desk.channel.get_exchange("zoho.commands", ensure=False)
    body = f'{{"user_id": "{user_id}", "full_name": "Ada"}}'.encode()
    await exchange.publish(Message(body, message_id=message_id), "user.updated.v1")


async def stuck(desk, *, behind):
    rows = []

    async def shown():
        nonlocal rows
        rows = (await desk.ask("inbox", "stuck", "--older-than", "0", "--json")).rows
        # It is accepted a moment before it is leased.
        return [row["behind"] for row in rows if "leased" in row["state"]] == [behind]

    await until(shown)
    return rows


async def test_the_head_of_a_line_is_shown_with_how_many_wait_behind_it(desk, held):
    for number in (1, 2, 3):
        await publish(desk, f"m{number}", "u1")

    (row,) = await stuck(desk, behind=2)

    assert (row["service"], row["message_id"], row["state"]) == ("billing-worker", "m1", "leased")


async def test_a_lapsed_lease_is_called_one(desk, held):
    await publish(desk, "m1", "u1")
    await stuck(desk, behind=0)
    await ended(held._dispatcher._task)  # which would take the message over at once
    await desk.pool.execute("UPDATE billing.lines SET leased_until = now() - interval '1 second'")

    (row,) = await stuck(desk, behind=0)

    assert row["state"] == "leased, lease lapsed"


async def test_what_is_not_old_enough_is_not_stuck(desk, held):
    await publish(desk, "m1", "u1")
    await stuck(desk, behind=0)

    output = await desk.ask("inbox", "stuck")

    assert (output.code, output.out) == (0, "Nothing is stuck.\n")


async def test_pending_outbox_rows_are_shown_by_destination(desk):
    await desk.pool.execute(
        """
        INSERT INTO billing.outbox (id, org, exchange, routing_key, message_id, body, sealed,
                                    mandatory, properties, leased_until)
        SELECT gen_random_uuid(), 'default', 'zoho.events', 'user.erased.v1', n::text, '', true,
               false, '{}', now()
        FROM generate_series(1, 3) n
        """
    )

    (row,) = (await desk.ask("outbox", "pending", "--json")).rows

    assert (row["service"], row["exchange"], row["routing_key"], row["rows"]) == (
        "billing-worker",
        "zoho.events",
        "user.erased.v1",
        3,
    )


async def test_queues_are_shown_with_consumers(desk, held):
    rows = {}

    async def has_its_consumer():
        # A quorum queue's count of consumers lags by seconds.
        nonlocal rows
        rows = {row["queue"]: row for row in (await desk.ask("queues", "--json")).rows}
        return rows["billing-worker.intake.commands"]["consumers"] == 1

    await until(has_its_consumer)
    assert rows["billing-worker.poison"]["messages"] == 0
    assert "crm-worker.intake.commands" not in rows


async def test_a_count_of_none_is_asked_for_once_more(desk, held, amqp_url):
    await test_queues_are_shown_with_consumers(desk, held)

    async with busy_broker(amqp_url, times=1) as url:
        rows = (await desk.ask("queues", "--json", AMQP_URL=url)).rows

    counted = {row["queue"]: row["consumers"] for row in rows}
    assert counted["billing-worker.intake.commands"] == 1


async def test_effects_that_wait_for_a_person_come_first(desk):
    await desk.pool.execute(EFFECT, "create_customer", "u1", "intended", NOT_YET_S)
    await desk.pool.execute(EFFECT, "create_customer", "u2", "intended", OVERDUE_S)
    await desk.pool.execute(EFFECT, "collect", "i1", "unknown", OVERDUE_S)
    await desk.pool.execute(EFFECT, "create_customer", "u3", "clear", OVERDUE_S)

    rows = (await desk.ask("effects", "list", "--json")).rows

    assert [(row["operation"], row["business_id"], row["state"]) for row in rows] == [
        ("collect", "i1", "unknown"),
        ("create_customer", "u2", "intended"),
        ("create_customer", "u1", "intended"),
    ]
    assert rows[1]["looked_for_in"] == "overdue"
    assert rows[2]["looked_for_in"] != "overdue"


@pytest.mark.parametrize("before", ["unknown", "intended"])
@pytest.mark.parametrize(
    ("decision", "state"), [("--did-not-happen", "clear"), ("--look-again", "intended")]
)
async def test_a_person_decides_about_an_effect_without_an_end(desk, decision, state, before):
    await desk.pool.execute(EFFECT, "collect", "i1", before, OVERDUE_S)

    output = await desk.ask("effects", "resolve", "collect", "i1", decision)

    assert output.code == 0
    effect = await desk.pool.fetchrow("SELECT state, number FROM relay.effects")
    assert tuple(effect) == (state, 2)


async def test_nothing_is_decided_about_an_effect_that_may_still_be_done(desk):
    await desk.pool.execute(EFFECT, "collect", "i1", "intended", NOT_YET_S)

    output = await desk.ask("effects", "resolve", "collect", "i1", "--did-not-happen")

    assert output.code == 1
    assert await desk.pool.fetchval("SELECT state FROM relay.effects") == "intended"


async def test_a_decision_needs_one_of_two_options(desk):
    output = await desk.ask("effects", "resolve", "collect", "i1")

    assert output.code == 2
    assert "--did-not-happen" in output.err


async def test_a_database_without_our_tables_is_named(desk, postgres_url):
    output = await desk.ask("effects", "list", DATABASE_URL=postgres_url)

    assert output.code == 1
    assert output.err.startswith("This database has no tables of zoho-relay")


@pytest.fixture
async def waiting(desk):
    """A worker whose handler waits for a user whom nobody has introduced."""

    async def handle(message, work):
        raise NotYetKnown("the user is not known", kind="user", key="u1", code="unknown_user")

    async with desk.worker({"user.updated.v1": handle}) as worker:
        await until(worker.ready)
        await publish(desk, "m1", "u1")
        yield worker


async def open_message(desk):
    rows = []

    async def waits():
        nonlocal rows
        rows = (await desk.ask("inbox", "waiting", "--for", "fact", "--json")).rows
        return bool(rows)

    await until(waits)
    (row,) = rows
    return row


async def dead_letters(desk, *codes):
    async def listed():
        rows = (await desk.ask("dead-letters", "list", "--each", "--json")).rows
        return tuple(row["code"] for row in rows) == codes

    await until(listed)


async def test_a_wait_is_listed_with_what_it_is_for_and_its_end(desk, waiting):
    row = await open_message(desk)

    assert (row["service"], row["message_id"]) == ("billing-worker", "m1")
    assert (row["who"], row["waits_for"]) == ("user u1", "fact: user u1")
    assert row["code"] == "unknown_user"
    assert row["ends_at"] > row["since"]


async def test_waits_are_listed_page_by_page_and_by_user(desk, waiting):
    for number in (2, 3):
        await publish(desk, f"m{number}", f"u{number}")
    of_billing = ("inbox", "waiting", "--service", "billing-worker", "--json")

    async def all_wait():
        return len((await desk.ask(*of_billing, "--for", "fact")).rows) == 3

    await until(all_wait)
    shown = await desk.ask(*of_billing, "--limit", "2")
    first = shown.rows
    rest = (await desk.ask(*of_billing, "--after", str(first[-1]["number"]))).rows
    mine = (await desk.ask(*of_billing, "--user", "u2")).rows

    assert [row["message_id"] for row in (*first, *rest)] == ["m1", "m2", "m3"]
    assert [row["message_id"] for row in mine] == ["m2"]
    assert f"--service billing-worker --after {first[-1]['number']}" in shown.err
    assert (await desk.ask("inbox", "waiting", "--service", "biling-worker")).code == 2


async def test_waits_are_listed_by_their_code(desk, waiting):
    await open_message(desk)

    mine = (await desk.ask("inbox", "waiting", "--code", "unknown_user", "--json")).rows
    others = (await desk.ask("inbox", "waiting", "--code", "unknown_invoice", "--json")).rows

    assert [row["message_id"] for row in mine] == ["m1"]
    assert others == []


async def test_a_wait_that_is_ended_by_hand_ends_under_its_own_code(desk, waiting):
    row = await open_message(desk)

    output = await desk.ask("inbox", "end-wait", row["service"], str(row["number"]))

    assert output.code == 0
    await dead_letters(desk, "unknown_user")
    (intervention,) = (await desk.ask("inbox", "interventions", "--json")).rows
    assert (intervention["action"], intervention["message_id"]) == ("end_wait", "m1")
    assert intervention["by"]


async def test_a_message_can_be_given_up_and_its_dead_letter_discarded(desk, waiting):
    row = await open_message(desk)

    given_up = await desk.ask("inbox", "give-up", row["service"], str(row["number"]))
    await dead_letters(desk, "given_up_by_operator")
    discarded = await desk.ask("dead-letters", "discard", "m1", "--yes")

    assert (given_up.code, discarded.code) == (0, 0)
    assert "discarded" in discarded.out
    await dead_letters(desk)
    assert (await desk.ask("dead-letters", "discard", "m1", "--yes")).code == 1


async def test_an_intervention_needs_a_message_that_is_open(desk, waiting):
    await open_message(desk)

    gone = await desk.ask("inbox", "give-up", "billing-worker", "999999")
    unknown = await desk.ask("inbox", "give-up", "biling-worker", "1")

    assert (gone.code, unknown.code) == (1, 2)
    assert "billing-worker" in unknown.err


async def test_the_version_is_shown_without_any_settings(desk):
    output = await desk.ask("--version", DATABASE_URL="")

    assert (output.code, output.out) == (0, f"zoho-relay {VERSION}\n")
